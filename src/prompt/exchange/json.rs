//! JSON that may be damaged: what can be read is read, with the line of each value, and what could not is said.
//!
//! Sound JSON gives what any reader gives. Of damaged JSON, an entry that makes no sense is left out up to the next comma or bracket,
//! a missing comma is put in, and brackets that are never closed are closed at the end. Takes time linear in the text.

use super::Warning;

/// Brackets inside brackets; deeper ones are left out.
const DEEPEST: usize = 64;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line, counted from 1.
    pub line: usize,
    /// The value.
    pub json: Json,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Values by name, in the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Json::Map(entries) = &self.json else { return None };
        entries.iter().rev().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = &self.json { Some(text) } else { None }
    }

    /// The same for readers that know no lines.
    pub fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Value::from(*number as i64),
            Json::Number(number) => Value::from(*number),
            Json::Text(text) => Value::String(text.clone()),
            Json::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Json::Map(entries) => {
                Value::Object(entries.iter().map(|(name, node)| (name.clone(), node.to_value())).collect())
            }
        }
    }
}

/// Reads a text; `None` if there is no value in it.
pub fn read(text: &str) -> (Option<Node>, Vec<Warning>) {
    let mut reader = Reader { text, at: 0, line: 1, open: Vec::new(), is_cut: false, warnings: Vec::new() };
    let node = reader.value();
    if node.is_some() {
        reader.skip_blanks();
        if reader.peek().is_some() {
            reader.warn("what follows the end of the JSON is left out");
        }
    } else if reader.warnings.is_empty() {
        reader.warn("there is no JSON here");
    }
    (node, reader.warnings)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// The closing brackets that are waited for.
    open: Vec<u8>,
    /// Whether it was said that the text ends too early.
    is_cut: bool,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn warn(&mut self, text: impl Into<String>) {
        super::add(&mut self.warnings, || Warning::at(self.line, text.into()));
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.advance();
        }
        // A mark of the byte order, or a blank that is none to JSON, is no reason to give up.
        if let Some(blank) = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .filter(|c| *c == '\u{feff}' || (!c.is_ascii() && c.is_whitespace()))
        {
            self.at += blank.len_utf8();
            self.skip_blanks();
        }
    }

    fn value(&mut self) -> Option<Node> {
        self.skip_blanks();
        let line = self.line;
        let json = match self.peek()? {
            b'"' => self.string().map(Json::Text),
            b'[' if self.open.len() < DEEPEST => Some(Json::List(self.list())),
            b'{' if self.open.len() < DEEPEST => Some(Json::Map(self.map())),
            b'[' | b'{' => {
                self.warn("brackets are nested too deeply here and are left out");
                self.skip_nested();
                None
            }
            _ => self.word(),
        }?;
        Some(Node { line, json })
    }

    fn list(&mut self) -> Vec<Node> {
        let opened = self.line;
        self.open.push(b']');
        self.advance();
        let mut items = Vec::new();
        while self.goes_on(b']', opened) {
            match self.value() {
                Some(node) => {
                    items.push(node);
                    self.expect_comma(b']');
                }
                None => self.skip_damage(),
            }
        }
        self.open.pop();
        items
    }

    fn map(&mut self) -> Vec<(String, Node)> {
        let opened = self.line;
        self.open.push(b'}');
        self.advance();
        let mut entries = Vec::new();
        while self.goes_on(b'}', opened) {
            match self.entry() {
                Some(entry) => {
                    entries.push(entry);
                    self.expect_comma(b'}');
                }
                None => self.skip_damage(),
            }
        }
        self.open.pop();
        entries
    }

    fn entry(&mut self) -> Option<(String, Node)> {
        if self.peek() != Some(b'"') {
            self.warn("a name in quotes is expected here; this entry is left out");
            return None;
        }
        let name = self.string()?;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            self.warn(format!("a colon is expected behind \"{name}\"; this entry is left out"));
            return None;
        }
        self.advance();
        let known = self.warnings.len();
        let value = self.value();
        if value.is_none() && self.warnings.len() == known {
            self.warn(format!("\"{name}\" has no value and is left out"));
        }
        Some((name, value?))
    }

    /// Skips commas and says whether another entry follows; closes the bracket if not.
    fn goes_on(&mut self, closing: u8, opened: usize) -> bool {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.advance(),
                Some(byte) if byte == closing => {
                    self.advance();
                    return false;
                }
                Some(b']' | b'}') => {
                    self.warn(format!("this bracket does not fit the one of line {opened}"));
                    // It may close what stands around this.
                    let closes_another = self.open.iter().rev().skip(1).any(|other| Some(*other) == self.peek());
                    if closes_another {
                        return false;
                    }
                    self.advance();
                }
                Some(_) => return true,
                None => {
                    if !std::mem::replace(&mut self.is_cut, true) {
                        self.warn(format!(
                            "the bracket of line {opened} is never closed; what was read so far is kept"
                        ));
                    }
                    return false;
                }
            }
        }
    }

    fn expect_comma(&mut self, closing: u8) {
        self.skip_blanks();
        if let Some(byte) = self.peek()
            && byte != b','
            && byte != b']'
            && byte != b'}'
            && byte != closing
        {
            self.warn("a comma is missing here");
        }
    }

    /// After an entry that could not be read: a lost quote has cost its line, anything else costs what stands up to the next comma.
    fn skip_damage(&mut self) {
        if self.peek() != Some(b'\n') {
            self.resync();
        }
    }

    /// Goes on to the next comma or bracket that belongs to what is being read.
    fn resync(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b',' | b']' | b'}' => return,
                b'[' | b'{' => self.skip_nested(),
                b'"' => {
                    let known = self.warnings.len();
                    let _ = self.string();
                    self.warnings.truncate(known);
                }
                _ => self.advance(),
            }
        }
    }

    /// Skips a bracket with all that is in it.
    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b'"' => {
                    let known = self.warnings.len();
                    let _ = self.string();
                    self.warnings.truncate(known);
                    continue;
                }
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    /// A text in quotes. JSON has no line ends inside: one means that the closing quote is missing.
    fn string(&mut self) -> Option<String> {
        self.advance();
        let mut read = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let stop = rest.find(['"', '\\', '\n']).unwrap_or(rest.len());
            read.push_str(rest.get(..stop)?);
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Some(read);
                }
                Some(b'\\') => self.escape(&mut read),
                _ => {
                    let start: String = read.chars().take(24).collect();
                    self.warn(format!("the text \"{start}…\" has no closing quote and is left out"));
                    return None;
                }
            }
        }
    }

    fn escape(&mut self, read: &mut String) {
        self.at += 1;
        let Some(c) = self.text.get(self.at..).and_then(|rest| rest.chars().next()) else { return };
        if c == '\n' {
            // The line end is dealt with by whoever reads on.
            return;
        }
        self.at += c.len_utf8();
        match c {
            'n' => read.push('\n'),
            't' => read.push('\t'),
            'r' => read.push('\r'),
            'b' => read.push('\u{8}'),
            'f' => read.push('\u{c}'),
            'u' => {
                let first = self.unit();
                let is_high = first.is_some_and(|unit| (0xD800..0xDC00).contains(&unit));
                let units: Vec<u16> = if is_high && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"))
                {
                    self.at += 2;
                    first.into_iter().chain(self.unit()).collect()
                } else {
                    first.into_iter().collect()
                };
                read.push_str(&String::from_utf16_lossy(&units));
            }
            other => read.push(other),
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(unit)
    }

    fn word(&mut self) -> Option<Json> {
        let rest = self.text.get(self.at..)?;
        let end = rest.find(|c: char| c.is_whitespace() || ",]}[{\":".contains(c)).unwrap_or(rest.len());
        let word = rest.get(..end)?;
        let json = match word {
            "null" | "NaN" => Some(Json::Null),
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ => word.parse().ok().filter(|number: &f64| number.is_finite()).map(Json::Number),
        };
        if json.is_none() {
            let start: String = rest.chars().take_while(|c| *c != '\n').take(24).collect();
            self.warn(format!("this makes no sense and is left out: {start}"));
        }
        self.at += end;
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, wanted: &str, lines: &[usize]) {
        let (node, warnings) = read(text);
        assert_eq!(node.map_or_else(String::new, |node| node.to_value().to_string()), wanted, "{text}");
        let said: Vec<usize> = warnings.iter().filter_map(|warning| warning.line).collect();
        assert_eq!(said, lines, "{text}: {warnings:?}");
    }

    #[test]
    fn sound_json_is_read_as_it_is() {
        check(
            r#" {"a": [1, -2.5e1, 0.5, 1e30, true, null, "x\n\u00e4\ud83d\ude00\/"]} "#,
            r#"{"a":[1,-25,0.5,1e+30,true,null,"x\nä😀/"]}"#,
            &[],
        );
        check("\u{feff}[]", "[]", &[]);
    }

    #[test]
    fn of_damaged_json_the_rest_is_kept() {
        check("[{\"a\": \"x\"},\n{\"a\": \"y\"", r#"[{"a":"x"},{"a":"y"}]"#, &[2]);
        check("[\"a\"\n\"b\", c,\n\"d\"]", r#"["a","b","d"]"#, &[2, 2]);
        check("[\"a\", \"b,\n\"c\", 3]", r#"["a","c",3]"#, &[1]);
        check("{\"a\": 1,\n b: 2, \"c\" 3,\n\"d\": 4, \"e\":}", r#"{"a":1,"d":4}"#, &[2, 2, 3]);
        check("[{\"a\": [1, 2}, 3]", r#"[{"a":[1,2]},3]"#, &[1]);
        check("[1] x", "[1]", &[1]);
        check("", "", &[1]);
    }

    #[test]
    fn a_megabyte_of_brackets_is_read_at_once() {
        let start = std::time::Instant::now();
        let (node, warnings) = read(&"[".repeat(1 << 20));
        assert!(node.is_some() && !warnings.is_empty() && start.elapsed().as_secs() < 5);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([\\[\\]{},:\"\\\\u\n ]|tru|1|ä|[^x]){0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn it_agrees_with_serde(entries in proptest::collection::btree_map("\\PC{0,8}", "(?s).{0,12}", 0..6)) {
            let text = serde_json::to_string_pretty(&entries).unwrap_or_default();
            let (node, warnings) = read(&text);
            prop_assert_eq!(warnings, vec![]);
            prop_assert_eq!(node.map(|node| node.to_value()), serde_json::to_value(&entries).ok());
        }
    }
}
