//! Names of tensors, as hostile as may be, and ComfyUI's files of paths: whatever the text, it is understood or passed over.
#![no_main]

#[path = "../../../src/registry/comfy.rs"]
#[allow(dead_code)]
mod comfy;
#[path = "../../../src/models/files/ldm.rs"]
mod ldm;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((number, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let number = usize::from(*number);
    for separator in ['.', '_'] {
        // No name grows by more than the longest word of the tables.
        assert!(ldm::unet(&text, separator, number).is_none_or(|name| name.len() <= text.len() + 64));
    }
    assert!(ldm::vae(&text, number).is_none_or(|name| name.len() <= text.len() + 64));
    let _ = ldm::text(&text);
    let _ = comfy::folders(&text, std::path::Path::new("x"));
});
