//! The models that are known on this machine, as the window and the command line show them. Reading the list and looking at files happens
//! on a background thread; nothing here opens a file by itself but the functions that say so.

use std::path::{Path, PathBuf};

use crate::job::ModelRef;
use crate::registry::{self, Catalogue, Family, Found, Report, Sort};
use crate::store::presets;

/// A model, or something that goes with one.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownModel {
    /// A short name.
    pub name: String,
    /// What it is.
    pub sort: Sort,
    /// What a job calls it.
    pub reference: ModelRef,
    /// One line about it: its title, or its path.
    pub about: String,
    /// What was found out about its files; `None` of what is built in.
    pub report: Option<Report>,
}

/// What is known at the moment.
#[derive(Debug, Default)]
pub struct Models {
    known: Option<Vec<KnownModel>>,
    is_pending: bool,
}

impl Models {
    /// Everything that is known; `None` until it was first read.
    pub fn known(&self) -> Option<&[KnownModel]> {
        self.known.as_deref()
    }

    /// Whether the list is being read.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    pub(super) fn ask(&mut self) {
        self.is_pending = true;
    }

    pub(super) fn on_read(&mut self, read: Option<Vec<KnownModel>>) {
        self.is_pending = false;
        if read.is_some() {
            self.known = read;
        } else {
            // Not asked for again and again.
            self.known.get_or_insert_default();
        }
    }
}

/// What a place holds that was just remembered.
#[derive(Debug)]
pub struct Remembered {
    /// Everything in it.
    pub found: Vec<Found>,
    /// The user's catalogue, where it is written down now.
    pub written_to: PathBuf,
}

/// The shipped catalogue with the user's own. Reads a file.
///
/// # Errors
/// If the user's catalogue cannot be read or makes no sense.
pub fn catalogue(presets: Option<&Path>) -> Result<Catalogue, String> {
    let (shipped, own) = presets::model_catalogues(presets)?;
    let catalogue = Catalogue::load(shipped, own.as_deref()).map_err(|error| error.0)?;
    Ok(presets::model_folder(presets).into_iter().fold(catalogue, Catalogue::with_folder))
}

/// Writes `path` down in the user's catalogue and looks into it.
///
/// # Errors
/// If there is no such path, it is known already, or it cannot be written down.
pub fn remember(presets: Option<&Path>, path: &Path) -> Result<Remembered, String> {
    let folder = presets.ok_or("this system has no place for a user's files, so nothing can be remembered")?;
    let there = std::path::absolute(path).ok().filter(|path| path.is_file() || path.is_dir());
    let path = there.ok_or_else(|| format!("there is no such folder or file: {}", path.display()))?;
    let (_, own) = presets::model_catalogues(Some(folder))?;
    let own = own.unwrap_or_else(|| {
        "# Models of your own. `maquette models add PATH` writes here; edit it as you like.\n".to_owned()
    });
    let text = Catalogue::with_place(&own, &path).map_err(|error| error.0)?;
    let found = registry::scan(&path);
    let written_to = presets::write_model_catalogue(folder, &text)
        .map_err(|error| format!("cannot write to this folder ({error}): {}", folder.display()))?;
    Ok(Remembered { found, written_to })
}

/// Everything that is known, models first, each looked at. Reads the headers of all files.
///
/// # Errors
/// As [`catalogue`].
pub fn read(presets: Option<&Path>) -> Result<Vec<KnownModel>, String> {
    let catalogue = catalogue(presets)?;
    let named = catalogue.entries.iter().map(|entry| {
        let sort = match entry.family {
            Family::Clip => Sort::Clip,
            Family::Diffusion => Sort::Diffusion,
        };
        let report = entry.path.as_ref().map(|path| registry::check(path, &catalogue));
        KnownModel {
            name: entry.id.clone(),
            sort,
            reference: ModelRef(entry.id.clone()),
            about: entry.title.clone(),
            report,
        }
    });
    let found = catalogue.found().into_iter().map(|one| {
        let path = one.path.display().to_string();
        let report = Some(registry::check(&one.path, &catalogue));
        KnownModel { name: one.name, sort: one.sort, reference: ModelRef(path.clone()), about: path, report }
    });
    let mut known: Vec<KnownModel> = named.chain(found).collect();
    let order = |sort: Sort| match sort {
        Sort::Diffusion => 0,
        Sort::Clip => 1,
        Sort::Unusable => 3,
        _ => 2,
    };
    known.sort_by_key(|model| order(model.sort));
    Ok(known)
}
