//! Nets that a request brings along beside the model's own: read when they are first asked for, kept until others are.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;

use candle_core::{DType, Device};
use sha2::{Digest, Sha256};

use crate::base::task::{Progress, TaskCx};
use crate::job::ModelRef;
use crate::job::nets::ControlSpec;
use crate::models::diffusion::{Autoencoder, ControlNet, Source};
use crate::models::error::{ModelError, Result};
use crate::models::files::ModelFiles;

/// The files that a ControlNet's work depends on.
const CONTROL_FILES: [&str; 2] = ["config.json", "diffusion_pytorch_model.safetensors"];

/// A net and where it came from.
pub(super) struct Net<T> {
    name: ModelRef,
    pub(super) net: T,
    files: ModelFiles,
    hashed: Vec<String>,
    hash: OnceCell<String>,
}

impl<T> Net<T> {
    /// Identifies its exact weights.
    pub(super) fn hash(&self, cx: &TaskCx<'_>) -> Result<String> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash.clone());
        }
        let names: Vec<&str> = self.hashed.iter().map(String::as_str).collect();
        let hash = self.files.sha256(&names, cx)?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }
}

type Shelf<T> = RefCell<Vec<Rc<Net<T>>>>;

/// The nets of the last request that brought any.
pub(super) struct Beside {
    vaes: Shelf<Autoencoder>,
    controls: Shelf<ControlNet>,
    dtype: DType,
    device: Device,
}

impl Beside {
    pub(super) fn new(dtype: DType, device: &Device) -> Self {
        Self { vaes: RefCell::default(), controls: RefCell::default(), dtype, device: device.clone() }
    }

    /// The autoencoder that is asked for in place of the model's `own`, if one is.
    pub(super) fn vae(
        &self,
        asked: Option<&ModelRef>,
        own: &Autoencoder,
        cx: &TaskCx<'_>,
    ) -> Result<Option<Rc<Net<Autoencoder>>>> {
        let read = |name: &ModelRef| {
            let source = Source::at(Path::new(&name.0))?;
            let net = Autoencoder::load_from(&source, own, self.dtype, &self.device, cx)?;
            Ok((net, source.files().clone(), source.hashed()))
        };
        Ok(fetch(&self.vaes, asked.into_iter(), read, cx)?.pop())
    }

    /// The ControlNets that are asked for, in their order.
    pub(super) fn controls(&self, asked: &[ControlSpec], cx: &TaskCx<'_>) -> Result<Vec<Rc<Net<ControlNet>>>> {
        let read = |name: &ModelRef| {
            let path = Path::new(&name.0);
            if !path.is_dir() {
                let reason = "a ControlNet is a folder in diffusers layout, and there is none here".to_owned();
                return Err(ModelError::BadFile { path: path.to_owned(), reason });
            }
            let files = ModelFiles::Folder(path.to_owned());
            let net = ControlNet::load_in(&files, self.dtype, &self.device, cx)?;
            Ok((net, files, CONTROL_FILES.map(str::to_owned).to_vec()))
        };
        fetch(&self.controls, asked.iter().map(|control| &control.model), read, cx)
    }
}

/// The nets that are asked for; others than these leave the shelf, unless none is asked for.
fn fetch<'a, T>(
    shelf: &Shelf<T>,
    asked: impl Iterator<Item = &'a ModelRef> + Clone,
    read: impl Fn(&ModelRef) -> Result<(T, ModelFiles, Vec<String>)>,
    cx: &TaskCx<'_>,
) -> Result<Vec<Rc<Net<T>>>> {
    if asked.clone().next().is_some() {
        shelf.borrow_mut().retain(|net| asked.clone().any(|name| *name == net.name));
    }
    let mut found = Vec::new();
    for name in asked {
        let known = shelf.borrow().iter().find(|net| net.name == *name).cloned();
        found.push(match known {
            Some(net) => net,
            None => {
                cx.progress(Progress::steps("Loading the model", 0, 0));
                cx.checkpoint()?;
                let (net, files, hashed) = read(name)?;
                let net = Rc::new(Net { name: name.clone(), net, files, hashed, hash: OnceCell::new() });
                shelf.borrow_mut().push(net.clone());
                net
            }
        });
    }
    Ok(found)
}

/// What identifies the weights of a model and the nets beside it: its own hash if there are none.
pub(super) fn joined(own: String, others: &[String]) -> String {
    if others.is_empty() {
        return own;
    }
    let mut hash = Sha256::new();
    std::iter::once(&own).chain(others).for_each(|one| hash.update(one.as_bytes()));
    format!("{:x}", hash.finalize())
}
