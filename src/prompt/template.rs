//! Templates: texts with a hole. Prompt templates call it `{subject}`, zero-shot templates `{}` as CLIP's lists do.

/// The hole of a prompt template.
pub const SUBJECT: &str = "{subject}";

/// `template` with every `{subject}` replaced; a template without one gets the subject in front.
pub fn fill_subject(template: &str, subject: &str) -> String {
    let subject = subject.trim();
    if template.contains(SUBJECT) {
        return template.replace(SUBJECT, subject);
    }
    match (subject.is_empty(), template.trim().is_empty()) {
        (true, _) => template.trim().to_owned(),
        (_, true) => subject.to_owned(),
        _ => format!("{subject}, {}", template.trim()),
    }
}

/// `template` with every `{}` (or `{c}` or `{class}`) replaced by `class`.
pub fn fill_class(template: &str, class: &str) -> String {
    template.replace("{}", class).replace("{c}", class).replace("{class}", class)
}

/// Whether a zero-shot template has a place for the class name.
pub fn has_class_hole(template: &str) -> bool {
    ["{}", "{c}", "{class}"].iter().any(|hole| template.contains(hole))
}

/// The lines of `text` that say something: not empty, not starting with `#`.
pub fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled() {
        assert_eq!(fill_subject("a sketch of {subject}, ink", " a fox "), "a sketch of a fox, ink");
        assert_eq!(fill_subject("soft light", "a fox"), "a fox, soft light");
        assert_eq!(fill_class("a photo of a {}.", "cat"), "a photo of a cat.");
        assert_eq!(fill_class("a {c} and a {class}", "cat"), "a cat and a cat");
        assert!(!has_class_hole("a photo"));
    }

    #[test]
    fn lists_skip_blank_lines_and_comments() {
        assert_eq!(lines("cat\n\n # colours\n  dog \r\n"), ["cat", "dog"]);
    }
}
