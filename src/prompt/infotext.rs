//! The text that A1111 and its kin write into pictures: prompt, negative prompt, and a last line of parameters.
//!
//! ```text
//! a fox, many lines are possible
//! Negative prompt: text
//! Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512
//! ```
//! Reading never fails: text without such a line of parameters is no infotext. Behaviour: AUTOMATIC1111's
//! `modules/infotext_utils.py`, `parse_generation_parameters`, and `modules/processing.py`, `create_infotext`.

/// A last line with fewer parameters than this is a part of the prompt.
const FEWEST_FIELDS: usize = 3;
const NEGATIVE: &str = "Negative prompt:";

/// Prompts and parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Infotext {
    /// What to show.
    pub prompt: String,
    /// What to steer away from.
    pub negative: String,
    /// Name and value of each parameter, in order.
    pub fields: Vec<(String, String)>,
}

impl Infotext {
    /// Reads a text; `None` if it is none of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (body, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let fields = fields(last).filter(|fields| fields.len() >= FEWEST_FIELDS);
        let (body, fields) = match fields {
            Some(fields) => (body, fields),
            // Prompts without parameters are written, too, but need the mark of the negative one to be told from any text.
            None if text.lines().any(|line| line.starts_with(NEGATIVE)) => (text, Vec::new()),
            None => return None,
        };
        let (mut prompt, mut negative): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut is_negative = false;
        for line in body.lines().map(str::trim) {
            let line = match line.strip_prefix(NEGATIVE) {
                Some(rest) if !is_negative => {
                    is_negative = true;
                    rest.trim()
                }
                _ => line,
            };
            if is_negative { negative.push(line) } else { prompt.push(line) }
        }
        let joined = |lines: Vec<&str>| lines.join("\n").trim().to_owned();
        Some(Self { prompt: joined(prompt), negative: joined(negative), fields })
    }

    /// The value of a parameter.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text again.
    pub fn write(&self) -> String {
        let mut lines = vec![self.prompt.clone()];
        if !self.negative.is_empty() {
            lines.push(format!("{NEGATIVE} {}", self.negative));
        }
        if !self.fields.is_empty() {
            let fields = self.fields.iter().map(|(name, value)| format!("{name}: {}", quoted(value)));
            lines.push(fields.collect::<Vec<_>>().join(", "));
        }
        lines.join("\n")
    }
}

/// `Name: value` pairs with commas between; `None` if the line does not begin with one.
fn fields(line: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once(':')?;
        let name = name.trim();
        let is_name = name.chars().count() >= 2
            && name.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || "_ -/".contains(c));
        if !is_name {
            return if found.is_empty() { None } else { Some(found) };
        }
        let after = after.trim_start();
        let (value, next) = match quoted_end(after) {
            Some(end) => {
                let value = after.get(..end).unwrap_or_default();
                (unquoted(value), after.get(end..).unwrap_or_default().trim_start().trim_start_matches(','))
            }
            None => {
                let (value, next) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), next)
            }
        };
        found.push((name.to_owned(), value));
        rest = next.trim_start();
    }
    (!found.is_empty()).then_some(found)
}

/// Where a text in quotes at the start of `text` ends, behind the quote.
fn quoted_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    let mut chars = text.char_indices();
    chars.next().filter(|(_, c)| *c == '"')?;
    for (at, c) in chars {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.trim_matches('"').to_owned())
}

/// In quotes if it could not be told from what follows otherwise.
fn quoted(value: &str) -> String {
    let is_plain = !value.contains([',', ':', '\n', '"', '\\']) && value.trim() == value && !value.is_empty();
    if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_three_parts_are_read() {
        let text = "a fox,\nat sea: deep\nNegative prompt: text,\nblurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, \
                    CFG scale: 7.5, Seed: 42, Size: 512x768, Lora hashes: \"ink: 1a2b, sea: 3c\", Version: v1.10.1";
        let read = Infotext::parse(text).unwrap_or_default();
        assert_eq!((read.prompt.as_str(), read.negative.as_str()), ("a fox,\nat sea: deep", "text,\nblurry"));
        let field = |name| read.field(name).unwrap_or_default();
        assert_eq!(
            [field("Steps"), field("Sampler"), field("Size"), field("CFG scale")],
            ["20", "DPM++ 2M", "512x768", "7.5"]
        );
        assert_eq!((field("Lora hashes"), field("Version")), ("ink: 1a2b, sea: 3c", "v1.10.1"));
        assert_eq!(read.write(), text);
    }

    #[test]
    fn ordinary_text_is_no_infotext() {
        for text in
            ["a fox", "a fox: red, and: blue", "", "a 16:9, b", "steps, Steps: 3", "(a:1.2), (b:1.3), (c:1.4), d"]
        {
            assert_eq!(Infotext::parse(text), None, "{text:?}");
        }
        let only_prompts = Infotext::parse("a\nNegative prompt: b").unwrap_or_default();
        assert_eq!((only_prompts.prompt.as_str(), only_prompts.negative.as_str()), ("a", "b"));
        let only_fields = Infotext::parse("Steps: 1, Seed: 2, Size: 8x8").unwrap_or_default();
        assert_eq!((only_fields.prompt.as_str(), only_fields.fields.len()), ("", 3));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            prompt in "[a-z,()]{1,12}(\n[a-z,]{1,12})?",
            negative in "([a-z,]{1,12})?",
            values in prop::collection::vec("[a-z0-9][a-z0-9,:\"\\\\ ]{0,8}", 3..6),
        ) {
            let fields = values.into_iter().enumerate().map(|(at, value)| (format!("Field {at}"), value.trim().to_owned()));
            let info = Infotext { prompt, negative, fields: fields.collect() };
            prop_assert_eq!(Infotext::parse(&info.write()), Some(info));
        }

        #[test]
        fn any_text_is_read(text in "[Steps:,0-9\"\\\\\n Negative prompt:]{0,60}") {
            let _ = Infotext::parse(&text);
        }
    }
}
