//! The values of a grid's axis as people type them: lists with commas and ranges, in the syntax of A1111's X/Y/Z plot.
//!
//! | form | meaning |
//! |---|---|
//! | `a, b, "c, d"` | a list; quotation marks keep a comma inside, `""` is a quotation mark |
//! | `1-5` | 1, 2, 3, 4, 5 |
//! | `1-5 (+2)`, `10-5 (-3)`, `1-3 (+0.5)` | a range in steps |
//! | `1-10 [5]`, `0-1 [6]` | so many values, evenly spread; of whole numbers the fraction is cut |
//!
//! Facts: AUTOMATIC1111's `scripts/xyz_grid.py`. Where it silently gives no value (`5-1`) or one too many (`1-2 (+0.3)`), the range here
//! counts down, or ends at its end.

/// A list longer than this is a slip.
pub const MOST_VALUES: usize = 1000;

/// What is wrong with the text of an axis, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

fn wrong<T>(text: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError(text.into()))
}

/// The items between commas and line ends, without the space around them. An empty text has none; an empty item is kept.
///
/// # Errors
/// If a quotation mark is never closed, or there are more than [`MOST_VALUES`].
pub fn list(text: &str) -> Result<Vec<String>, ValueError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let (mut items, mut item) = (Vec::new(), String::new());
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' | '\n' => items.push(std::mem::take(&mut item).trim().to_owned()),
            '"' if item.trim().is_empty() => loop {
                match chars.next() {
                    Some('"') if chars.peek() == Some(&'"') => item.extend(chars.next()),
                    Some('"') => break,
                    Some(c) => item.push(c),
                    None => return wrong("a quotation mark is never closed; write \"\" for one that is meant"),
                }
            },
            c => item.push(c),
        }
    }
    items.push(item.trim().to_owned());
    if items.len() > MOST_VALUES {
        return wrong(format!("{} values are too many; at most {MOST_VALUES} are taken", items.len()));
    }
    Ok(items)
}

/// Whole numbers and ranges of them.
///
/// # Errors
/// If an item is neither, or there are more than [`MOST_VALUES`].
pub fn integers(text: &str) -> Result<Vec<i64>, ValueError> {
    let mut values = Vec::new();
    for item in list(text)?.iter().filter(|item| !item.is_empty()) {
        let range = Range::parse(item)?;
        let numbers = [Some(range.start), range.end, range.step];
        if let Some(broken) = numbers.into_iter().flatten().find(|number| number.fract() != 0.0) {
            return wrong(format!("\"{broken}\" is not a whole number"));
        }
        // The fraction of evenly spread values is cut, as A1111's int() does.
        values.extend(range.values()?.into_iter().map(|value| value.trunc() as i64));
        check_count(values.len())?;
    }
    Ok(values)
}

/// Numbers and ranges of them.
///
/// # Errors
/// As [`integers`].
pub fn numbers(text: &str) -> Result<Vec<f64>, ValueError> {
    let mut values = Vec::new();
    for item in list(text)?.iter().filter(|item| !item.is_empty()) {
        values.extend(Range::parse(item)?.values()?);
        check_count(values.len())?;
    }
    Ok(values)
}

/// A number as people write it: no needless digits.
pub fn tidy(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}")
}

fn check_count(count: usize) -> Result<(), ValueError> {
    if count > MOST_VALUES {
        return wrong(format!("a range of more than {MOST_VALUES} values is too long; use larger steps, or [count]"));
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Range {
    start: f64,
    end: Option<f64>,
    step: Option<f64>,
    count: Option<usize>,
}

impl Range {
    fn parse(item: &str) -> Result<Self, ValueError> {
        let mut scanner = Scanner(item.trim());
        let range = scanner.range();
        match range {
            Some(range) if scanner.0.is_empty() => Ok(range),
            _ => wrong(format!(
                "\"{item}\" is neither a number nor a range; write 5, 1-5, 1-5 (+2) or 1-10 [4], with commas between"
            )),
        }
    }

    fn values(&self) -> Result<Vec<f64>, ValueError> {
        let Some(end) = self.end else { return Ok(vec![self.start]) };
        if let Some(count) = self.count {
            return Self::spread(self.start, end, count);
        }
        let step = self.step.unwrap_or(if end < self.start { -1.0 } else { 1.0 });
        let (from, to) = (tidy(self.start), tidy(end));
        if step == 0.0 {
            return wrong(format!(
                "the range from {from} to {to} has steps of 0; write 1-5 (+2), or 1-10 [4] for four values"
            ));
        }
        let steps = ((end - self.start) / step + 1e-6).floor();
        if steps < 0.0 {
            return wrong(format!(
                "steps of {} never lead from {from} to {to}; change the sign of the step",
                tidy(step)
            ));
        }
        if steps >= MOST_VALUES as f64 {
            check_count(usize::MAX)?;
        }
        Ok((0..=steps as usize).map(|i| round(self.start + step * i as f64)).collect())
    }

    fn spread(start: f64, end: f64, count: usize) -> Result<Vec<f64>, ValueError> {
        check_count(count)?;
        match count {
            0 => wrong("[0] asks for no value at all; write how many you want, such as [5]"),
            1 => Ok(vec![start]),
            _ => Ok((0..count).map(|i| round(start + (end - start) * i as f64 / (count - 1) as f64)).collect()),
        }
    }
}

/// Takes back what floating point adds: 0.1 + 0.2 is meant to be 0.3.
fn round(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

struct Scanner<'a>(&'a str);

impl Scanner<'_> {
    fn range(&mut self) -> Option<Range> {
        let start = self.number()?;
        if !self.take('-') {
            return Some(Range { start, ..Range::default() });
        }
        let mut range = Range { start, end: Some(self.number()?), ..Range::default() };
        if self.take('(') {
            range.step = Some(self.number()?);
            self.take(')').then_some(range)
        } else if self.take('[') {
            let count = self.number().filter(|count| count.fract() == 0.0 && (0.0..1e9).contains(count))?;
            range.count = Some(count as usize);
            self.take(']').then_some(range)
        } else {
            Some(range)
        }
    }

    /// A number with its sign, and the space after it.
    fn number(&mut self) -> Option<f64> {
        let sign = if self.take('-') { -1.0 } else { 1.0 };
        let _ = sign > 0.0 && self.take('+');
        let length = self.0.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest.trim_start();
        digits.parse::<f64>().ok().map(|number| sign * number)
    }

    /// Whether `wanted` comes next; it and the space after it are taken.
    fn take(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest.trim_start();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_split_as_csv() {
        assert_eq!(list("red, blue").unwrap(), ["red", "blue"]);
        assert_eq!(
            list(r#"red, "dark blue, cold", "say ""hi""", "#).unwrap(),
            ["red", "dark blue, cold", "say \"hi\"", ""]
        );
        assert_eq!(list("a,,b\nc").unwrap(), ["a", "", "b", "c"]);
        assert_eq!(list("  ").unwrap(), Vec::<String>::new());
        assert!(list("a, \"b").unwrap_err().0.contains("never closed"));
        assert_eq!(list("5\" of snow, x").unwrap(), ["5\" of snow", "x"], "a mark inside an item is text");
    }

    #[test]
    fn the_published_ranges_give_the_published_values() {
        // The wiki of A1111's web UI, "X/Y/Z plot".
        for (text, wanted) in [
            ("1-5", vec![1, 2, 3, 4, 5]),
            ("1-5 (+2)", vec![1, 3, 5]),
            ("10-5 (-3)", vec![10, 7]),
            ("1-10 [5]", vec![1, 3, 5, 7, 10]),
            ("5,10", vec![5, 10]),
            ("1-3, 10, 20-18", vec![1, 2, 3, 10, 20, 19, 18]),
            ("-1", vec![-1]),
            ("-2-1", vec![-2, -1, 0, 1]),
            ("", vec![]),
            (", 3,", vec![3]),
        ] {
            assert_eq!(integers(text).unwrap(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1-3 (+0.5)", vec![1.0, 1.5, 2.0, 2.5, 3.0]),
            ("0.0-1.0 [6]", vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            ("7.5, 0.1 - 0.3 ( +0.1 )", vec![7.5, 0.1, 0.2, 0.3]),
            ("1-2(+0.3)", vec![1.0, 1.3, 1.6, 1.9]),
        ] {
            assert_eq!(numbers(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("five", "neither a number nor a range"),
            ("1-", "neither a number"),
            ("1-5 (+0)", "steps of 0"),
            ("1-5 (-1)", "change the sign"),
            ("1-10 [0]", "no value at all"),
            ("1-100000", "too long"),
            ("1.5", "not a whole number"),
            ("1-5 (+2", "neither a number"),
        ] {
            let error = integers(text).unwrap_err().0;
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_values_or_a_message(text in ".{0,40}") {
            for count in [list(&text).map(|v| v.len()), integers(&text).map(|v| v.len()), numbers(&text).map(|v| v.len())] {
                match count {
                    Ok(count) => prop_assert!(count <= MOST_VALUES),
                    Err(error) => prop_assert!(!error.0.is_empty()),
                }
            }
        }

        #[test]
        fn a_quoted_item_is_kept_as_it_is(item in "[a-z,\" ]{1,12}") {
            let quoted = format!("x, \"{}\"", item.replace('"', "\"\""));
            prop_assert_eq!(list(&quoted).unwrap(), ["x", item.trim()]);
        }
    }
}
