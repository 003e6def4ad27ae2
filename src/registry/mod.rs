//! L2: which models exist and where their files are. Opens no network connection.

mod catalogue;

pub use catalogue::{Catalogue, Entry, Family, RegistryError, judge, shipped_bytes};
