//! Zero-shot templates and class names: a text with one a line, JSON by data set (LAION's CLIP_benchmark), or lists in Python as in
//! OpenAI's notebooks and open_clip (`lambda c: f'a photo of a {c}.'`). Python is not run: its texts are picked out.
//!
//! The hole may be `{}`, `{c}`, `{label}` or any name that a `lambda` gives it; here it is `{}`. A list without holes is one of class
//! names. Lists that were copied out of a numbered page or from between Python's brackets lose their numbers or quotes.

mod python;

pub use python::looks_like_python;

use serde_json::{Map, Value};

use super::json::{self, Json, Node};
use super::{File, Warning, add};
use crate::prompt::library::{Library, NamedList};
use crate::prompt::template::{fill_class, has_class_hole};

/// A line of a list with its place.
struct Line {
    line: usize,
    text: String,
}

/// Reads one list, named `name` or by its first comment.
pub fn read_text(name: &str, text: &str) -> (Library, Vec<Warning>) {
    let title = text.lines().next().and_then(|line| line.trim().strip_prefix('#')).map(str::trim);
    let name = title.filter(|title| !title.is_empty()).unwrap_or(name);
    let lines = text.lines().enumerate().map(|(at, text)| Line { line: at + 1, text: text.trim().to_owned() });
    let lines: Vec<Line> = lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#')).collect();
    let lines = stripped(&lines, without_number).or_else(|| stripped(&lines, without_quotes)).unwrap_or(lines);
    let (mut library, mut warnings) = Default::default();
    put(&mut library, name, lines, &mut warnings);
    (library, warnings)
}

/// The lines without what `strip` takes away, if it does so on every one of several.
fn stripped(lines: &[Line], strip: impl Fn(usize, &str) -> Option<String>) -> Option<Vec<Line>> {
    let strip = |(at, line): (usize, &Line)| Some(Line { line: line.line, text: strip(at + 1, &line.text)? });
    lines.iter().enumerate().map(strip).collect::<Option<Vec<Line>>>().filter(|lines| lines.len() > 1)
}

/// The text behind `number` and a full stop or bracket.
fn without_number(number: usize, line: &str) -> Option<String> {
    let rest = line.strip_prefix(&number.to_string())?;
    let text = rest.strip_prefix(['.', ')'])?.strip_prefix(char::is_whitespace)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text between the quotes of a line of Python or JSON.
fn without_quotes(_number: usize, line: &str) -> Option<String> {
    let line = line.strip_suffix(',').unwrap_or(line).trim_end();
    let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let text = line.strip_prefix(quote)?.strip_suffix(quote)?;
    let is_one = !text.trim().is_empty() && !text.replace(&format!("\\{quote}"), "").contains(quote);
    is_one.then(|| text.replace(&format!("\\{quote}"), &quote.to_string()))
}

/// Reads lists by data set, or one list, named `name`.
pub fn read_json(name: &str, text: &str) -> (Library, Vec<Warning>) {
    let (node, mut warnings) = json::read(text);
    let mut library = Library::default();
    match node {
        Some(Node { json: Json::Map(entries), .. }) => {
            for (name, node) in entries {
                let lines = lines_of(&name, &node, &mut warnings);
                put(&mut library, &name, lines, &mut warnings);
            }
        }
        Some(node) => {
            let lines = lines_of(name, &node, &mut warnings);
            put(&mut library, name, lines, &mut warnings);
        }
        None => {}
    }
    (library, warnings)
}

/// Reads the lists of a Python file, or those in the cells of a notebook; `name` is for a list without one.
pub fn read_python(name: &str, text: &str) -> (Library, Vec<Warning>) {
    let (lists, mut warnings) = match notebook(text) {
        Some((code, mut warnings)) => {
            let (lists, more) = python::lists(&code);
            // Lines of the cells are no lines of the file.
            warnings.extend(more.into_iter().map(|warning| Warning::general(warning.text)));
            (lists, warnings)
        }
        None => python::lists(text),
    };
    let mut library = Library::default();
    for (given, lines) in lists {
        put(&mut library, given.as_deref().unwrap_or(name), lines, &mut warnings);
    }
    if library.is_empty() && warnings.is_empty() {
        warnings.push(Warning::general("there is no list of texts here"));
    }
    (library, warnings)
}

/// Whether this is a Jupyter notebook.
pub fn is_notebook(node: &Node) -> bool {
    node.get("cells").is_some_and(|cells| matches!(cells.json, Json::List(_)))
}

/// The code in the cells of a notebook, and what could not be read; `None` if this is none.
fn notebook(text: &str) -> Option<(String, Vec<Warning>)> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let (node, warnings) = json::read(text);
    let node = node.filter(is_notebook)?;
    let Json::List(cells) = &node.get("cells")?.json else { return None };
    let is_code = |cell: &&Node| cell.get("cell_type").and_then(Node::text) == Some("code");
    let source = |cell: &Node| match cell.get("source").map(|source| &source.json) {
        Some(Json::List(lines)) => lines.iter().filter_map(Node::text).collect(),
        Some(Json::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let code: Vec<String> = cells.iter().filter(is_code).map(source).collect();
    Some((code.join("\n"), warnings))
}

fn lines_of(name: &str, node: &Node, warnings: &mut Vec<Warning>) -> Vec<Line> {
    let Json::List(items) = &node.json else {
        add(warnings, || Warning::at(node.line, format!("\"{name}\" is no list and is left out")));
        return Vec::new();
    };
    let mut lines = Vec::new();
    for item in items {
        match item.text().filter(|text| !text.trim().is_empty()) {
            Some(text) => lines.push(Line { line: item.line, text: text.to_owned() }),
            None => {
                add(warnings, || Warning::at(item.line, format!("an entry of \"{name}\" is no text; it is left out")))
            }
        }
    }
    lines
}

/// Puts a list where it belongs: among the templates if its lines have holes, else among the classes.
fn put(library: &mut Library, name: &str, lines: Vec<Line>, warnings: &mut Vec<Warning>) {
    if lines.is_empty() {
        return;
    }
    let is_templates = lines.iter().any(|line| has_class_hole(&line.text));
    let mut kept = Vec::new();
    for Line { line, text } in lines {
        if is_templates && !has_class_hole(&text) {
            add(warnings, || Warning::at(line, format!("\"{text}\" has no {{}} for the class and is left out")));
            continue;
        }
        kept.push(if is_templates { fill_class(&text, "{}") } else { text });
    }
    let lists = if is_templates { &mut library.zero_shot } else { &mut library.classes };
    lists.push(NamedList { name: name.to_owned(), lines: kept, is_mine: false });
}

/// Writes a text file for each list of templates and each list of classes.
pub fn write_text(library: &Library, warnings: &mut Vec<Warning>) -> Vec<File> {
    let templates = library.zero_shot.iter().map(|list| ("templates", list));
    let classes = library.classes.iter().map(|list| ("classes", list));
    let files = templates.chain(classes).map(|(folder, list)| {
        let lines = list.lines.iter().filter_map(|line| {
            if line.contains(['\n', '\r']) || line.starts_with('#') || line.trim() != line {
                let text = format!("an entry of \"{}\" is no line of a text file and is left out: {line}", list.name);
                add(warnings, || Warning::general(text));
                return None;
            }
            Some(format!("{line}\n"))
        });
        let lines: String = lines.collect();
        File { path: format!("{folder}/{}.txt", file_name(&list.name)), text: format!("# {}\n{lines}", list.name) }
    });
    files.collect()
}

/// Writes the lists of templates by name, with `{c}` as CLIP_benchmark has it; lists of classes if there are none.
pub fn write_json(library: &Library) -> String {
    let lists = if library.zero_shot.is_empty() { &library.classes } else { &library.zero_shot };
    let lists: Map<String, Value> = lists
        .iter()
        .map(|list| {
            let lines = list.lines.iter().map(|line| line.replace("{}", "{c}"));
            (list.name.clone(), Value::from(lines.collect::<Vec<_>>()))
        })
        .collect();
    serde_json::to_string_pretty(&lists).unwrap_or_default() + "\n"
}

/// Writes the lists as open_clip has them.
pub fn write_python(library: &Library) -> String {
    let template = |line: &String| format!("    lambda c: f{},\n", python::quoted(&line.replace("{}", "\u{0}"), true));
    let class = |line: &String| format!("    {},\n", python::quoted(line, false));
    let templates = library.zero_shot.iter().map(|list| (list, list.lines.iter().map(template).collect::<String>()));
    let classes = library.classes.iter().map(|list| (list, list.lines.iter().map(class).collect::<String>()));
    let lists = templates.chain(classes).map(|(list, lines)| {
        // The name as people see it stands above, the one for Python in front.
        format!("## {}\n{} = [\n{lines}]\n", list.name.replace(['\n', '\r'], " "), python::variable(&list.name))
    });
    lists.collect::<Vec<_>>().join("\n")
}

/// A name for a file, without what file systems do not like.
pub(super) fn file_name(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_alphanumeric() || " -_.".contains(c) { c } else { '-' }).collect();
    let clean = clean.trim().trim_start_matches('.').to_owned();
    if clean.is_empty() { "list".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn found(read: &(Library, Vec<Warning>)) -> Vec<(&str, Vec<&str>)> {
        let lists = read.0.zero_shot.iter().chain(&read.0.classes);
        lists.map(|list| (list.name.as_str(), list.lines.iter().map(String::as_str).collect())).collect()
    }

    fn lines(read: &(Library, Vec<Warning>)) -> Vec<usize> {
        read.1.iter().filter_map(|warning| warning.line).collect()
    }

    #[test]
    fn texts_are_templates_or_classes() {
        let read = read_text("x", "# Mine\na photo of a {}.\nno hole\n\n a {c} here\n");
        assert_eq!(found(&read), [("Mine", vec!["a photo of a {}.", "a {} here"])]);
        assert_eq!(lines(&read), [3]);
        let read = read_text("pets", "cat\ndog\n");
        assert_eq!(found(&read), [("pets", vec!["cat", "dog"])]);
        assert!(read.0.zero_shot.is_empty());
    }

    #[test]
    fn json_is_by_data_set() {
        let read =
            read_json("x", "{\"cifar10\": [\"a {c}.\", 3, \"b\",\n\"c {c}\"], \"eurosat\": 3, \"last\": [\"{c}\"");
        assert_eq!(found(&read), [("cifar10", vec!["a {}.", "c {}"]), ("last", vec!["{}"])]);
        assert_eq!(lines(&read), [2, 1, 1, 2]);
    }

    #[test]
    fn python_lists_are_picked_out() {
        let text = "# comment\nimagenet_templates = [\n    'a bad photo of a {}.',\n    \"it's a {}\",\n]\n\nOPENAI = (\n    lambda c: f'a photo of many {c}.',  # [x\n    lambda name: f\"a \\\"{name}\\\"\",\n    lambda c: 'a {}.'.format(c),\n)\n\n## CIFAR10\nclasses = ['cat',\n  'dog' 'gy']\ntemplates = ['a {}', 'odd', 'a { }]\nlast = ['x {}']\n";
        let read = read_python("x", text);
        let wanted = [
            ("imagenet_templates", vec!["a bad photo of a {}.", "it's a {}"]),
            ("OPENAI", vec!["a photo of many {}.", "a \"{}\"", "a {}."]),
            ("CIFAR10 templates", vec!["a {}"]),
            ("last", vec!["x {}"]),
            ("CIFAR10 classes", vec!["cat", "doggy"]),
        ];
        assert_eq!(found(&read), wanted);
        assert!(lines(&read).contains(&16), "{:?}", read.1);
    }

    #[test]
    fn what_a_text_file_takes_for_a_comment_is_said() {
        let list = NamedList { name: "mine".into(), lines: vec!["#{}".into(), "a {}".into()], is_mine: false };
        let mut warnings = Vec::new();
        let files = write_text(&Library { zero_shot: vec![list], ..Library::default() }, &mut warnings);
        assert_eq!(files[0].text, "# mine\na {}\n");
        assert!(warnings[0].text.contains("#{}"));
    }

    proptest! {
        #[test]
        fn lists_make_the_round_in_every_format(
            templates in proptest::collection::vec("[a-z'\"\\\\ ,.#(\\[é]{0,10}\\{\\}[a-z'\"\\\\.]{0,6}", 1..4),
            classes in proptest::collection::vec("[a-z][a-z'\" ,é\\\\]{0,8}[a-z]", 1..4),
        ) {
            let list = |name: &str, lines: &[String]| NamedList { name: name.into(), lines: lines.to_vec(), is_mine: false };
            let templates: Vec<String> = templates.iter().map(|line| line.trim().trim_start_matches(['#', ' ']).to_owned()).collect();
            let mut all = Library { zero_shot: vec![list("my set", &templates)], ..Library::default() };
            prop_assert_eq!(read_json("x", &write_json(&all)), (all.clone(), vec![]));
            all.classes = vec![list("pets", &classes)];
            let python = write_python(&all);
            let read = read_python("x", &python);
            prop_assert_eq!(&read.1, &vec![], "{}", python);
            prop_assert_eq!(&read.0.zero_shot[0].lines, &templates, "{}", python);
            prop_assert_eq!(&read.0.classes[0].lines, &classes, "{}", python);
            let mut warnings = Vec::new();
            let mut back = Library::default();
            for file in write_text(&all, &mut warnings) {
                back.add(read_text("x", &file.text).0);
            }
            prop_assert_eq!((back, warnings), (all, vec![]));
        }

        #[test]
        fn any_text_is_read(text in "([\\[\\](),='\"\\\\#{}\n ]|lambda |f'|\"\"\"|x|[^q]){0,50}") {
            let _ = (read_python("x", &text), read_text("x", &text), read_json("x", &text));
        }
    }
}
