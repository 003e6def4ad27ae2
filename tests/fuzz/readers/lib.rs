//! The product's own readers, compiled for the fuzz targets: everything up to L2, and nothing of the window.

#[path = "../../../src/base/mod.rs"]
#[allow(dead_code)]
pub mod base;
#[path = "../../../src/job/mod.rs"]
#[allow(dead_code)]
pub mod job;
#[path = "../../../src/models/mod.rs"]
#[allow(dead_code)]
pub mod models;
#[path = "../../../src/registry/mod.rs"]
#[allow(dead_code, unused_imports)]
pub mod registry;

pub mod forge;
