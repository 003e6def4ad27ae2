//! Products in bf16 by tile registers (Intel AMX): sixteen rows and columns in one instruction, several times as fast as wide registers.
//!
//! A block of the result is 32 rows and 32 columns. What is multiplied from the left has the numbers of a row beside each other; what is
//! multiplied from the right is pairs of numbers that lie behind each other, the pairs of 16 columns beside each other.

mod attention;
mod conv;
mod linear;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod registers;

pub(super) use attention::Head;
pub(super) use conv::{Filters, Sizes, convolve};
pub(super) use linear::{Columns, Layer};

use half::bf16;

use super::word::{Pair, Word};

/// Rows, and columns, of a block.
pub(super) const SIDE: usize = 32;
/// Numbers of a row, and pairs of a column twice that, that are multiplied at once.
pub(super) const DEPTH: usize = 32;
/// Words of a column that are multiplied at once.
pub(super) const WORDS: usize = DEPTH / Pair::DEPTH;
/// Rows, and columns, of a register.
const HALF: usize = SIDE / 2;

/// A part of the result, (rows, columns).
pub(super) type Block = [[f32; SIDE]; SIDE];

/// What lies where registers are read and written fastest.
#[repr(C, align(64))]
pub(super) struct Aligned<T>(pub(super) T);

/// Whether this processor has tile registers and the system lets us use them.
pub(super) fn are_there() -> bool {
    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
    return registers::are_there();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64")))]
    false
}

/// What is multiplied from the left: [`SIDE`] rows of numbers.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) numbers: &'a [bf16],
    /// From one row to the next.
    pub(super) row: usize,
    /// From one step of [`DEPTH`] numbers to the next.
    pub(super) step: usize,
}

/// What is multiplied from the right: [`SIDE`] columns of pairs.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) pairs: &'a [Pair],
    /// From the pairs of one depth to those of the next.
    pub(super) row: usize,
    /// Where each step begins.
    pub(super) steps: &'a Steps,
}

/// Where the steps of a product begin, in pairs.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    starts: Vec<usize>,
    last: usize,
}

impl Steps {
    pub(super) fn new(starts: Vec<usize>) -> Self {
        let last = starts.iter().copied().max().unwrap_or(0);
        Self { starts, last }
    }

    /// Those of panels of columns, (depth, [`SIDE`]), of so many words.
    pub(super) fn of_panel(words: usize) -> Self {
        Self::new((0..words / WORDS).map(|step| step * WORDS * SIDE).collect())
    }
}

/// What the processor fetches during products: weights of those that come next, which would come from memory hardly as fast as they are
/// multiplied.
#[derive(Clone, Copy)]
struct Ahead(*const u8);

impl Ahead {
    const NOTHING: Self = Self(std::ptr::null());
    /// Products that together fetch one side of a product to come.
    const PRODUCTS: usize = 2;

    /// What the product of this number, counted among those of the present weights, fetches of the `next` ones.
    fn of<T>(next: Option<&[T]>, number: usize) -> Self {
        match next {
            Some(next) if number < Self::PRODUCTS => {
                let share = size_of_val(next) / Self::PRODUCTS;
                Self(next.as_ptr().cast::<u8>().wrapping_add(number * share))
            }
            _ => Self::NOTHING,
        }
    }
}

/// The product of what is left and right, in `out`; `adds` if it is added to what is there.
fn multiply(left: Left<'_>, right: Right<'_>, adds: bool, ahead: Ahead, out: &mut Block) {
    let count = right.steps.starts.len();
    if count == 0 {
        if !adds {
            out.fill([0.0; SIDE]);
        }
        return;
    }
    assert!(
        left.row <= left.numbers.len()
            && left.step <= left.numbers.len()
            && right.row <= right.pairs.len()
            && (count - 1) * left.step + (SIDE - 1) * left.row + DEPTH <= left.numbers.len()
            && right.steps.last + (WORDS - 1) * right.row + SIDE <= right.pairs.len(),
        "panels are as deep as the steps that are taken through them"
    );
    #[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
    if registers::are_there() {
        #[expect(
            unsafe_code,
            reason = "the compiler cannot see what the processor has, and how far registers are read"
        )]
        // Safety: it has them, and both sides are as long as asserted.
        return unsafe { registers::multiply(left, right, adds, ahead.0, out) };
    }
    let _ = ahead.0;
    multiply_slowly(left, right, adds, out);
}

/// The same in operations that every processor has.
fn multiply_slowly(left: Left<'_>, right: Right<'_>, adds: bool, out: &mut Block) {
    if !adds {
        out.fill([0.0; SIDE]);
    }
    for (step, start) in right.steps.starts.iter().enumerate() {
        for (row, out) in out.iter_mut().enumerate() {
            let numbers = &left.numbers[step * left.step + row * left.row..][..DEPTH];
            for (word, pair) in numbers.as_chunks::<2>().0.iter().enumerate() {
                let [first, second] = pair.map(f32::from);
                let pairs = &right.pairs[start + word * right.row..][..SIDE];
                for (out, pair) in out.iter_mut().zip(pairs) {
                    let [above, below] = pair.numbers();
                    *out = second.mul_add(below, first.mul_add(above, *out));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_product_of_both_sides() {
        let number = |i: usize| bf16::from_f32(((i * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5);
        for (depth, gap) in [(0, 0), (32, 0), (64, 5), (320, 32)] {
            let row = depth + gap;
            let numbers: Vec<bf16> = (0..SIDE * row).map(number).collect();
            let pairs: Vec<Pair> =
                (0..depth / 2 * SIDE + 7).map(|i| Pair::of(|k| f32::from(number(2 * i + k + 77)))).collect();
            let steps = Steps::of_panel(depth / 2);
            let left = Left { numbers: &numbers, row, step: DEPTH };
            let right = Right { pairs: &pairs, row: SIDE, steps: &steps };
            for adds in [false, true] {
                let (mut fast, mut slow) = ([[1.0; SIDE]; SIDE], [[1.0; SIDE]; SIDE]);
                multiply(left, right, adds, Ahead::of(Some(&numbers), 1), &mut fast);
                multiply_slowly(left, right, adds, &mut slow);
                for (y, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                    for (x, got) in fast.iter().zip(slow).enumerate() {
                        let products = (0..depth).map(|d| {
                            let right = number(2 * (d / 2 * SIDE + x) + d % 2 + 77);
                            f64::from(numbers[y * row + d]) * f64::from(right)
                        });
                        let want = f64::from(u8::from(adds)) + products.sum::<f64>();
                        let worst = (f64::from(*got.0) - want).abs().max((f64::from(*got.1) - want).abs());
                        assert!(worst < 2e-5, "{depth}: {got:?} {want}");
                    }
                }
            }
        }
    }
}
