//! What the tensors of a LoRA file add to one layer: low-rank products (LoRA, LoCon), two of them multiplied number by number (LoHa;
//! Hyeon-Woo et al. 2021), Kronecker products (LoKr; Yeh et al. 2023, `KohakuBlueleaf/LyCORIS`).
//!
//! Invariant: nothing is multiplied out before its sides are known to fit the layer, so that a file cannot ask for more memory than
//! the layer has.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::models::error::{ModelError, Result};
use crate::models::layers::{Adaptable, Branch, Factors};

/// The tensors for one layer, by part.
pub(super) type Parts = HashMap<&'static str, Tensor>;

/// A matrix, or two whose product it is. Kernels are flattened into columns.
#[derive(Clone, Copy)]
enum Factor<'a> {
    Whole(&'a Tensor),
    Product(&'a Tensor, &'a Tensor),
}

impl<'a> Factor<'a> {
    fn find(parts: &'a Parts, whole: &str, a: &str, b: &str) -> Option<Self> {
        let product = || Some(Self::Product(parts.get(a)?, parts.get(b)?));
        parts.get(whole).map(Self::Whole).or_else(product)
    }

    fn rank(self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Product(_, b) => b.dims().first().copied(),
        }
    }

    /// Rows and columns; `None` if the two do not fit each other.
    fn sides(self) -> Option<[usize; 2]> {
        let sides = |tensor: &Tensor| {
            let (rows, rest) = tensor.dims().split_first()?;
            Some([*rows, rest.iter().product()])
        };
        match self {
            Self::Whole(whole) => sides(whole),
            Self::Product(a, b) => {
                let ([rows, rank], [other, columns]) = (sides(a)?, sides(b)?);
                (rank == other).then_some([rows, columns])
            }
        }
    }

    fn multiplied(self) -> Result<Tensor> {
        Ok(match self {
            Self::Whole(whole) => whole.flatten_from(1)?,
            Self::Product(a, b) => a.flatten_from(1)?.matmul(&b.flatten_from(1)?)?,
        })
    }
}

/// The branch that `parts` make beside `layer`, and the rank that alpha is to be divided by; `None` where alpha does not count.
pub(super) fn branch(layer: &Adaptable, parts: &Parts) -> Result<(Branch, Option<usize>)> {
    if parts.contains_key("tucker") {
        return Err(ModelError::BadInput(
            "it is a LoHa or LoKr with a Tucker decomposition, which Maquette cannot read; merge it into a model with the program that \
             made it"
                .to_owned(),
        ));
    }
    if let (Some(down), Some(up)) = (parts.get("down"), parts.get("up")) {
        let factors = Factors { down: down.clone(), middle: parts.get("middle").cloned(), up: up.clone() };
        return Ok((layer.low_rank(&factors)?, down.dims().first().copied()));
    }
    let find = |whole, a, b| Factor::find(parts, whole, a, b);
    let hada = (find("", "hada_w1_a", "hada_w1_b"), find("", "hada_w2_a", "hada_w2_b"));
    let lokr = (find("lokr_w1", "lokr_w1_a", "lokr_w1_b"), find("lokr_w2", "lokr_w2_a", "lokr_w2_b"));
    match (hada, lokr) {
        ((Some(first), Some(second)), _) => Ok((layer.full_rank(&hadamard(layer, first, second)?)?, first.rank())),
        (_, (Some(first), Some(second))) => {
            let rank = first.rank().or(second.rank());
            Ok((layer.full_rank(&kronecker(layer, first, second)?)?, rank))
        }
        _ => Err(ModelError::BadInput(format!("some of its tensors for the layer {} are missing", layer.path()))),
    }
}

fn misfit(layer: &Adaptable) -> ModelError {
    ModelError::BadInput(format!(
        "its tensors for the layer {} do not make {:?}, which that layer of the model is",
        layer.path(),
        layer.shape()
    ))
}

/// Rows, columns without the kernel, and numbers of the kernel of a layer's weights.
fn sides_of(layer: &Adaptable) -> (Vec<usize>, [usize; 3]) {
    let shape = layer.shape();
    let side = |axis: usize| shape.get(axis).copied().unwrap_or(1);
    let sides = [side(0), side(1), side(2) * side(3)];
    (shape, sides)
}

fn hadamard(layer: &Adaptable, first: Factor<'_>, second: Factor<'_>) -> Result<Tensor> {
    let (shape, [rows, columns, kernel]) = sides_of(layer);
    if [first, second].iter().any(|factor| factor.sides() != Some([rows, columns * kernel])) {
        return Err(misfit(layer));
    }
    Ok((first.multiplied()? * second.multiplied()?)?.reshape(shape)?)
}

fn kronecker(layer: &Adaptable, first: Factor<'_>, second: Factor<'_>) -> Result<Tensor> {
    let (shape, [rows, columns, kernel]) = sides_of(layer);
    let (Some([a, b]), Some([c, d])) = (first.sides(), second.sides()) else { return Err(misfit(layer)) };
    let fits = |whole: usize, part: usize, other: usize| part.checked_mul(other) == Some(whole);
    if !d.is_multiple_of(kernel) || !fits(rows, a, c) || !fits(columns, b, d / kernel) {
        return Err(misfit(layer));
    }
    let first = first.multiplied()?.reshape((a, 1, b, 1, 1))?;
    let second = second.multiplied()?.reshape((1, c, 1, d / kernel, kernel))?;
    Ok(first.broadcast_mul(&second)?.reshape(shape)?)
}
