//! ComfyUI's `extra_model_paths.yaml`: sections of folders below a base. Only as much YAML as such files use is understood; what is not
//! understood is passed over. Pure text in, paths out.

use std::path::{Path, PathBuf};

/// Entries that are no folders of models.
const NO_FOLDERS: [&str; 4] = ["base_path", "is_default", "custom_nodes", "configs"];

/// The folders that `text`, a file in `folder`, names; sections without a base count from `folder`.
pub(super) fn folders(text: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let (mut base, mut inside): (PathBuf, Vec<String>) = (folder.to_owned(), Vec::new());
    // How far the key of a list of lines (`key: |`) is indented, while its lines are read.
    let mut list: Option<(usize, bool)> = None;
    let finish = |base: &Path, inside: &mut Vec<String>, found: &mut Vec<PathBuf>| {
        found.extend(inside.drain(..).map(|path| base.join(path)));
    };
    for line in text.lines() {
        let content = without_comment(line);
        let indent = content.len() - content.trim_start().len();
        let content = content.trim();
        if content.is_empty() {
            continue;
        }
        if let Some((_, is_folder)) = list.filter(|(key, _)| indent > *key) {
            if is_folder {
                inside.push(unquoted(content.strip_prefix("- ").unwrap_or(content)));
            }
            continue;
        }
        list = None;
        let Some((key, value)) = content.split_once(':') else { continue };
        let (key, value) = (unquoted(key), value.trim());
        if indent == 0 {
            finish(&base, &mut inside, &mut found);
            base = folder.to_owned();
        } else if key == "base_path" {
            base = folder.join(expanded(&unquoted(value)));
        }
        let is_folder = indent > 0 && !NO_FOLDERS.contains(&key.as_str());
        match value {
            "" if indent == 0 => {}
            "" | "|" | "|-" | "|+" | ">" | ">-" => list = Some((indent, is_folder)),
            _ if is_folder => inside.push(unquoted(value)),
            _ => {}
        }
    }
    finish(&base, &mut inside, &mut found);
    found
}

/// A comment begins a line or follows a space.
fn without_comment(line: &str) -> &str {
    let at = line.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])));
    at.map_or(line, |(at, _)| &line[..at])
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let quoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.unwrap_or(text).to_owned()
}

fn expanded(path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    match path.strip_prefix('~').map(|rest| rest.trim_start_matches(['/', '\\'])) {
        Some(rest) => home().map_or_else(|| PathBuf::from(path), |home| PathBuf::from(home).join(rest)),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, want: &[&str]) {
        let found = folders(text, Path::new("/yaml"));
        assert_eq!(found, want.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
    }

    #[test]
    fn sections_of_folders_are_read() {
        check(
            "# Rename this\na111:\n    base_path: /web ui/   # the other program\n\n    checkpoints: models/Stable-diffusion\n    loras: |\n         \
             models/Lora\n         models/LyCORIS\n    is_default: true\n    embeddings: \"embeddings\"\n\nother:\n  vae: /abs/vae\n",
            &[
                "/web ui/models/Stable-diffusion",
                "/web ui/models/Lora",
                "/web ui/models/LyCORIS",
                "/web ui/embeddings",
                "/abs/vae",
            ],
        );
        check("a:\n  checkpoints: x\n  base_path: sub\n", &["/yaml/sub/x"]);
        check("a:\n  loras:\n    - one\n    - two\n  custom_nodes: |\n    nodes\n", &["/yaml/one", "/yaml/two"]);
    }

    #[test]
    fn what_is_no_such_file_gives_nothing() {
        for text in ["", "words", "[1, 2]", "{a: b}", "a: b", ":\n:\n", "\u{0}\n#", "- a\n- b\n"] {
            check(text, &[]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z:|># \\-\"'\\n\\t~/é]{0,200}") {
            folders(&text, Path::new("x"));
        }
    }
}
