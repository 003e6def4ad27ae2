//! The reader of PyTorch's pickled files on arbitrary bytes: it never panics, and every tensor that it finds lies inside the file.
#![no_main]

#[path = "../../../src/models/files/header.rs"]
#[allow(dead_code)]
mod header;
#[path = "../../../src/models/files/pickle/mod.rs"]
mod pickle;

use libfuzzer_sys::fuzz_target;
use maquette_fuzz::forge::zip;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Random bytes are seldom an archive: the same once more as the pickle in one that is.
    check(&zip(&[("x/data.pkl".to_owned(), bytes.to_vec()), ("x/data/0".to_owned(), vec![0; 64])]));
});

fn check(file: &[u8]) {
    let Ok(contents) = pickle::read(file) else { return };
    for (entry, _) in contents.tensors.values() {
        let numbers: usize = entry.shape.iter().product();
        assert_eq!(numbers * entry.kind.bits(), entry.bytes.len() * 8);
        assert!(entry.bytes.end <= file.len());
    }
}
