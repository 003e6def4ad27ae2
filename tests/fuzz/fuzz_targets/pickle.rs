//! The reader of PyTorch's pickled files on arbitrary bytes: it never panics, and every tensor that it finds lies inside the file.
#![no_main]

#[path = "../../../src/models/files/header.rs"]
#[allow(dead_code)]
mod header;
#[path = "../../../src/models/files/pickle/mod.rs"]
mod pickle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Random bytes are seldom an archive: the same once more as the pickle in one that is.
    check(&zip(&[("x/data.pkl", bytes), ("x/data/0", &[0; 64])]));
});

fn check(file: &[u8]) {
    let Ok(contents) = pickle::read(file) else { return };
    for (entry, _) in contents.tensors.values() {
        let numbers: usize = entry.shape.iter().product();
        assert_eq!(numbers * entry.kind.bits(), entry.bytes.len() * 8);
        assert!(entry.bytes.end <= file.len());
    }
}

/// A zip archive of these files, not packed.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = (out.len() as u32).to_le_bytes();
        let length = (bytes.len() as u32).to_le_bytes();
        let same = [&[0; 14][..], &length, &length, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        out.extend([b"PK\x03\x04", &same[..], name.as_bytes(), bytes].concat());
        list.extend([b"PK\x01\x02\0\0", &same[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), (out.len() as u32).to_le_bytes());
    let length = (list.len() as u32).to_le_bytes();
    out.extend(list);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &start, &[0; 2]].concat());
    out
}
