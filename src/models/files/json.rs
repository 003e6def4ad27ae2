//! Settings in JSON, with messages that say which of them is wrong and what belongs there.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::stand_in;

/// Rust's words for what is expected, and a person's.
const WORDS: [(&str, &str); 9] = [
    ("expected usize", "expected a whole number"),
    ("expected u64", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected f32", "expected a number"),
    ("expected a boolean", "expected true or false"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected a JSON object"),
    ("expected a string", "expected a text in quotes"),
];

/// The object that stands in `bytes`.
///
/// # Errors
/// What is wrong with it.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if let Some(reason) = stand_in::recognise(bytes) {
        return Err(reason.to_owned());
    }
    // A list would be taken for an object without names.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err("it is not a JSON object, which begins with {; download the file again".to_owned());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| explain(&error))?;
    reader.end().map_err(|error| format!("something follows the JSON object ({error})"))?;
    Ok(read)
}

/// What `value`, an object, says.
///
/// # Errors
/// What is wrong with it.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    match value.is_object() {
        true => serde_path_to_error::deserialize(value).map_err(|error| explain(&error)),
        false => Err("it is not a JSON object".to_owned()),
    }
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, inner) = (error.path().to_string(), error.inner());
    let text = WORDS.iter().fold(inner.to_string(), |text, (theirs, ours)| text.replace(theirs, ours));
    match (inner.is_data(), path.as_str()) {
        (false, _) => format!("it is not valid JSON ({text}); download the file again"),
        (true, ".") => text,
        (true, path) => format!("its setting \"{path}\" cannot be used: {text}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::diffusion::{UnetConfig, VaeConfig};

    #[test]
    fn the_wrong_setting_is_named_with_what_belongs_there() {
        let check = |text: &str, parts: &[&str]| {
            let error = from_slice::<UnetConfig>(text.as_bytes()).err().unwrap();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
            assert!(!error.contains("untagged") && !error.contains("usize"), "{error}");
        };
        check(r#"{"layers_per_block": "two"}"#, &["\"layers_per_block\"", "whole number", "list"]);
        check(r#"{"in_channels": -4}"#, &["\"in_channels\"", "-4", "expected a whole number"]);
        check(r#"{"block_out_channels": [320, "x"]}"#, &["\"block_out_channels[1]\"", "a whole number"]);
        check(r#"{"norm_eps": "x"}"#, &["\"norm_eps\"", "expected a number"]);
        check("[]", &["JSON object"]);
        check("null", &["JSON object"]);
        check("", &["not valid JSON"]);
        check("{} {}", &["follows"]);
        check(r#"{"in_channels": 4"#, &["not valid JSON", "EOF", "download"]);
        check("<!DOCTYPE html><html>", &["web page"]);
        assert!(from_value::<VaeConfig>(&Value::Array(Vec::new())).is_err());
        assert!(from_slice::<VaeConfig>(b" \n{\"sample_size\": [8, 8]}\n").is_ok());
    }
}
