//! LoRA files at work on a loaded model: read once, put into its layers for the time of a job, taken out again.
//!
//! Invariant: between jobs the model is as it was loaded; a job inside another one finds its own LoRAs and leaves the other's behind.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use super::conditioning::Conditioner;
use crate::base::task::{Progress, TaskCx};
use crate::job::lora::LoraUse;
use crate::models::adapters::{Lora, Nets};
use crate::models::clip::TextTower;
use crate::models::diffusion::Unet;
use crate::models::error::{ModelError, Result};
use crate::models::part::Part;

/// Files that are kept after the job that needed them.
const KEPT: usize = 8;

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq)]
struct Stamp {
    path: PathBuf,
    length: u64,
    changed: Option<SystemTime>,
}

struct Known {
    stamp: Stamp,
    sha256: String,
    lora: Rc<Lora>,
}

/// A LoRA with its strengths for text and denoising net.
type Strong = (Rc<Lora>, f64, f64);

/// The LoRAs of one model.
#[derive(Default)]
pub(super) struct Loras {
    /// Read files; most recently used last.
    known: RefCell<Vec<Known>>,
    /// What is in the layers now.
    active: RefCell<Vec<Strong>>,
}

/// The parts of a model that LoRAs change.
#[derive(Clone, Copy)]
pub(super) struct Changed<'a> {
    pub(super) conditioner: &'a Conditioner,
    pub(super) unet: &'a Part<Unet>,
}

/// The nets among them, which stay loaded while there is one.
struct Held<'a> {
    conditioner: &'a Conditioner,
    unet: Rc<Unet>,
    towers: Vec<Rc<TextTower>>,
}

impl<'a> Changed<'a> {
    fn hold(self, cx: &TaskCx<'_>) -> Result<Held<'a>> {
        Ok(Held { conditioner: self.conditioner, unet: self.unet.get(cx)?, towers: self.conditioner.towers(cx)? })
    }
}

impl Held<'_> {
    fn nets(&self) -> Nets<'_> {
        Nets { unet: &self.unet, text: self.towers.iter().map(|tower| tower.adaptable()).collect() }
    }
}

/// Keeps LoRAs in a model's layers; what was there before is put back in the end.
pub(super) struct Active<'a> {
    loras: &'a Loras,
    held: Held<'a>,
    before: Vec<Strong>,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.loras.put(&self.held, std::mem::take(&mut self.before));
    }
}

impl Loras {
    /// Puts `uses` into the layers until the returned value is dropped; `None` if there is nothing to change. Remarks say what a model has no place for.
    ///
    /// # Errors
    /// If a file cannot be used with this model, has changed, or a strength is no number; if the task is cancelled.
    pub(super) fn activate<'a>(
        &'a self,
        uses: &[LoraUse],
        changed: Changed<'a>,
        remarks: &mut Vec<String>,
        cx: &TaskCx<'_>,
    ) -> Result<Option<Active<'a>>> {
        if uses.is_empty() && self.active.borrow().is_empty() {
            return Ok(None);
        }
        let (held, mut strong) = (changed.hold(cx)?, Vec::new());
        for wanted in uses {
            if ![wanted.text_strength, wanted.unet_strength].iter().all(|strength| strength.abs() <= 100.0) {
                let text = format!("a LoRA's strength must lie between -100 and 100: {}", wanted.path.display());
                return Err(ModelError::BadInput(text));
            }
            let lora = self.get(wanted, &held, cx)?;
            if let Some(remark) = lora.remark() {
                remarks.push(format!("the LoRA {}: {remark}", wanted.path.display()));
            }
            strong.push((lora, f64::from(wanted.text_strength), f64::from(wanted.unet_strength)));
        }
        let before = self.put(&held, strong);
        Ok(Some(Active { loras: self, held, before }))
    }

    /// Replaces what is in the layers.
    fn put(&self, held: &Held<'_>, strong: Vec<Strong>) -> Vec<Strong> {
        let mut active = self.active.borrow_mut();
        let nets = held.nets();
        nets.clear();
        for (lora, text, unet) in &strong {
            lora.add(&nets, *text, *unet);
        }
        if active.iter().chain(&strong).any(|(lora, text, _)| *text != 0.0 && lora.changes_text()) {
            held.conditioner.forget();
        }
        std::mem::replace(&mut *active, strong)
    }

    fn get(&self, wanted: &LoraUse, held: &Held<'_>, cx: &TaskCx<'_>) -> Result<Rc<Lora>> {
        let file = Lora::file(&wanted.path)?;
        let about = std::fs::metadata(&file)
            .map_err(|error| ModelError::BadFile { path: file.clone(), reason: error.to_string() })?;
        let stamp = Stamp { path: file.clone(), length: about.len(), changed: about.modified().ok() };
        let place = self.known.borrow().iter().position(|known| known.stamp == stamp);
        let known = match place {
            Some(place) => self.known.borrow_mut().remove(place),
            None => {
                cx.progress(Progress::steps("Loading the LoRA", 0, 0));
                let lora = Rc::new(Lora::load(&wanted.path, &held.nets(), cx)?);
                Known { stamp, sha256: crate::models::files::sha256_of(&file, cx)?, lora }
            }
        };
        let (sha256, lora) = (known.sha256.clone(), known.lora.clone());
        let mut all = self.known.borrow_mut();
        all.push(known);
        let surplus = all.len().saturating_sub(KEPT);
        all.drain(..surplus);
        if sha256 != wanted.sha256 {
            let reason = "it is not the file that this job was made for; choose it again".to_owned();
            return Err(ModelError::BadFile { path: file, reason });
        }
        Ok(lora)
    }
}
