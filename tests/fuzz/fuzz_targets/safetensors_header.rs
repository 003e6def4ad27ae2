//! The reader of safetensors headers on arbitrary bytes: it never panics, and what it accepts lies inside the file without overlap.
#![no_main]

#[path = "../../../src/models/files/header.rs"]
#[allow(dead_code)]
mod header;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Random lengths seldom fit: the same bytes once more as the JSON of a header that does, before a few bytes of data.
    for data in [0, 4, 64] {
        let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(bytes);
        file.resize(file.len() + data, 0);
        check(&file);
    }
});

fn check(file: &[u8]) {
    let Ok(entries) = header::read(file) else { return };
    let mut covered = 0;
    for entry in entries.values() {
        let numbers: usize = entry.shape.iter().product();
        assert_eq!(numbers * entry.kind.bits(), entry.bytes.len() * 8);
        assert!(entry.bytes.end <= file.len());
        covered += entry.bytes.len();
    }
    assert!(covered <= file.len());
}
