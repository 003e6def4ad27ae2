//! L2: which models exist and where their files are. Opens no network connection; other programs' folders are read in place and never
//! written to.

mod catalogue;
mod check;
mod comfy;
mod hub;
mod scan;
mod shelf;
mod vocabulary;

pub use catalogue::{Catalogue, Entry, Family, RegistryError, judge, shipped_bytes};
pub use check::{Part, Report, check};
pub use scan::{Found, Sort, scan};
pub use shelf::{Shelf, embedding_use, lora_use};
