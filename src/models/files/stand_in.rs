//! What downloads leave in place of a model's file when they go wrong: a pointer of Git LFS, or a web page.

/// Why `bytes` are not the file that they should be, and what to do; `None` if they may well be it.
pub(super) fn recognise(bytes: &[u8]) -> Option<&'static str> {
    /// A page may begin with blank lines and a mark of its encoding.
    const LOOKED_AT: usize = 256;
    if bytes.starts_with(b"version https://git-lfs") {
        return Some(
            "this is not the file itself but a pointer of Git LFS to it: run `git lfs pull` in its folder, or download the real file \
             from the model's page",
        );
    }
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |tag: &[u8]| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    (begins(b"<!doctype") || begins(b"<html")).then_some(
        "this is a web page and not the file itself: download the file again by its download link (it may need an account or a consent)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_recognised() {
        let pointer: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167540\n";
        assert!(recognise(pointer).is_some_and(|reason| reason.contains("git lfs pull")));
        for page in ["<!DOCTYPE html><html>", "\n  <html lang=en>", "\u{feff}<!doctype html>", "<HTML>"] {
            assert!(recognise(page.as_bytes()).is_some_and(|reason| reason.contains("download")), "{page}");
        }
        for other in [&b""[..], b"{}", b"<", b"version", b"PK\x03\x04"] {
            assert_eq!(recognise(other), None);
        }
    }
}
