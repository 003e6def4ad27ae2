//! The words that programs like A1111 leave in a JPEG or WebP file: the EXIF field `UserComment`. Read only.
//!
//! Its first eight bytes name the encoding. For `UNICODE` the standard leaves the byte order open: A1111 writes the high
//! byte first whatever the rest of the record does, others follow the record, so the order that gives more letters of
//! ASCII is taken: what these programs write always has some.

use exif::{In, Tag, Value};

/// How long the name of the encoding is.
const MARK: usize = 8;

/// The comment in an EXIF record; `None` if there is none that can be read.
pub(super) fn read(record: &[u8]) -> Option<String> {
    let record = record.strip_prefix(b"Exif\0\0").unwrap_or(record);
    let exif = exif::Reader::new().continue_on_error(true).read_raw(record.to_vec());
    let exif = exif.or_else(|error| error.distill_partial_result(|_| ())).ok()?;
    let Value::Undefined(bytes, _) = &exif.get_field(Tag::UserComment, In::PRIMARY)?.value else { return None };
    decode(bytes)
}

fn decode(bytes: &[u8]) -> Option<String> {
    let (mark, rest) = bytes.split_at_checked(MARK).unwrap_or((&[], bytes));
    let text = match mark {
        b"UNICODE\0" => utf16(rest),
        b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0" => String::from_utf8_lossy(rest).into_owned(),
        b"JIS\0\0\0\0\0" => return None,
        // Some programs leave the mark out.
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let text = text.trim_matches(['\0', '\u{feff}']).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn utf16(bytes: &[u8]) -> String {
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    let high_first = String::from_utf16_lossy(&pairs().map(u16::from_be_bytes).collect::<Vec<_>>());
    let low_first = String::from_utf16_lossy(&pairs().map(u16::from_le_bytes).collect::<Vec<_>>());
    let letters = |text: &str| text.chars().filter(|c| c.is_ascii() && *c != '\0').count();
    if letters(&low_first) > letters(&high_first) { low_first } else { high_first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(mark: &[u8], text: &[u8]) -> Vec<u8> {
        [mark, text].concat()
    }

    #[test]
    fn comments_are_read_in_every_encoding_that_programs_use() {
        let text = "ein Fuchs, 狐\nSteps: 4";
        let units: Vec<u16> = text.encode_utf16().collect();
        let high: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let low: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let wanted = Some(text.to_owned());
        assert_eq!(decode(&marked(b"UNICODE\0", &high)), wanted);
        assert_eq!(decode(&marked(b"UNICODE\0", &low)), wanted);
        assert_eq!(decode(&marked(b"UNICODE\0", &[&[0xff, 0xfe], low.as_slice()].concat())), wanted);
        assert_eq!(decode(&marked(b"ASCII\0\0\0", text.as_bytes())), wanted);
        assert_eq!(decode(&marked(b"\0\0\0\0\0\0\0\0", text.as_bytes())), wanted);
        assert_eq!(decode(text.as_bytes()), wanted);
        assert_eq!(decode(b"UNICODE\0"), None);
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn what_is_no_record_has_no_comment() {
        for bytes in [&b""[..], b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\0\x01\x87\x69"] {
            assert_eq!(read(bytes), None);
        }
    }
}
