//! Library files as they are found in the wild: each is read whole, makes the round, and when damaged is read as far as it goes.
#![allow(clippy::unwrap_used)]

use maquette::prompt::exchange::{self, Format};
use maquette::prompt::library::Library;
use maquette::store::exchange as files;

/// Excel's quotes, line ends of Windows inside them, headings, a row that ends early.
const STYLES: &str = "\u{feff}name,prompt,negative_prompt\r\n\
    Film still,\"cinematic still of {prompt}, 35mm, \"\"Kodak\"\" grain,\r\nshallow depth of field\",\"cartoon, (lowres:1.3)\r\ntext\"\r\n\
    #--- Portraits ---,,\r\n\
    Rembrandt, \"portrait, [dim|bright] light\", \r\n\
    NegOnly,,\"bad hands, extra fingers\"\r\n\
    \"Comma, in name\",x (y:1.2) \\(z\\),\r\n\
    한국 수묵화,\"{prompt}, 수묵화 먹\",색\r\n\
    Short,one\r\n";
const STYLES_REORDERED: &str =
    "prompt,negative_prompt,name\n\"{prompt}, ukiyo-e\",\"photo\",Ukiyo\nwood block,,Block\n";
const STYLES_OLD: &str = "name,text\nOld style,\"oil on canvas, heavy impasto\"\n";
const FOOOCUS: &str = r#"[
    {"name": "Enhance", "negative_prompt": "(worst quality:1.4), blur"},
    {"name": "Semi Realistic", "prompt": "(Semi Realistic:1.2), {prompt} . \"soft\" — \u00e9", "negative_prompt": "flat"},
    {"name": "Bare", "prompt": "{prompt}", "negative_prompt": null}
]"#;
const TWRI: &str = r#"[{"name": "base", "prompt": "{prompt}", "negative_prompt": ""},
    {"name": "sai-anime", "prompt": "anime artwork {prompt} . key visual", "negative_prompt": "photo, deformed"}]"#;
const INVOKE: &str = r#"[{"name": "Sketch (pencil)", "positive_prompt": "pencil sketch of {prompt}", "negative_prompt": "paint"},
    {"name": "No negative", "prompt": "{prompt}, x"}]"#;
const INVOKE_PRESET: &str = r#"[{"id": "b1", "name": "Landscape", "type": "default", "image": null, "is_public": true,
    "preset_data": {"positive_prompt": "{prompt}, wide", "negative_prompt": "people"}}]"#;
const EASY: &str = r#"[{"category": "Drawing Style", "modifiers": [
        {"modifier": "Cel Shading", "previews": [{"name": "portrait", "path": "cel/portrait-0.jpg"}, {"name": "landscape", "path": "x.jpg"}]},
        {"modifier": "Children's \"Drawing\""}]},
    {"category": "Custom", "modifiers": ["a plain text"]}]"#;
const HAIR: &str =
    "# hair\nred\n\n  0.5::blonde  \n3::{dark|light} brown\n__colours__ hair\nwith # inside\n2::a::b\nécru\n";
const NESTED: &str = "# comment
clothes:
  hats: &hats
    - fedora
    - 2::beret
    - {text: \"cap, backwards\", weight: 0.25}
    - content: bowler
      weight: 3
  formal:
    hats: *hats
    shoes: [\"brogue\", \"pump\"]
  single: one thing
places: [here, \"there: far\"]
years: [1890, 1920, 24.5]
base: &base
  x: [1a, 1b]
merged:
  <<: *base
  y: [2a]
block: |
  line one
  line two
";
const NAMED_LISTS: &str = r#"{"animals": {"cats": ["lion", {"text": "lynx", "weight": 2.5}, {"content": "puma"}], "dogs": ["wolf"]},
    "solo": "just one", "colours": ["red", "2::blue"]}"#;
const ONE_LIST: &str = r#"["oak", "birch", {"text": "elm", "weight": 2}, "3::ash"]"#;
const NUMBERED: &str = "1. a photo of a {}.\n2. a drawing of a {}.\n3. art of {}\n";
const QUOTED: &str = "'a bad photo of a {}.',\n'a {} in a video game.',\n'it\\'s a {}.'\n";
const CLASSES: &str = "tench, Tinca tinca\ngoldfish\ngreat white shark\n";
const OPENAI: &str = "imagenet_classes = [\"tench\", \"goldfish\", \"great white shark\"]
imagenet_templates = [
    'a bad photo of a {}.',
    \"it's a {}.\",   # odd one
    'a photo of the small {}.',
]
print(f\"{len(imagenet_classes)} classes, {len(imagenet_templates)} templates\")
";
const OPEN_CLIP: &str = "OPENAI_IMAGENET_TEMPLATES = (
    lambda c: f'a bad photo of a {c}.',
    lambda c: f\"the plastic {c}.\",
    lambda c: f'a {c} in a \"video\" game.',
)
# a much smaller subset of above prompts
SIMPLE_IMAGENET_TEMPLATES = (
    lambda c: f'itap of a {c}.',
)
";
const PROMPTS_MD: &str = "## CIFAR10\n\n```bash\nclasses = [\n    'airplane',\n    'automobile',\n]\n\ntemplates = [\n    'a photo of a {}.',\n]\n```\n\n## Birdsnap\n\n```bash\nclasses = [\n    'Acadian Flycatcher',\n]\n\ntemplates = [\n    'a photo of a {}, a type of bird.',\n]\n```\n";
const NOTEBOOK: &str = r##"{"cells": [
    {"cell_type": "markdown", "source": ["# Prompts = ['none of {}']\n"]},
    {"cell_type": "code", "outputs": [], "source": ["imagenet_templates = [\n", "    'a bad photo of a {}.',\n", "    'a photo of many {}.',\n", "]"]},
    {"cell_type": "code", "source": "imagenet_classes = ['tench', 'goldfish']"}
], "metadata": {}, "nbformat": 4}"##;
const CLIP_JSON: &str =
    r#"{"cifar10": ["a photo of a {c}.", "a blurry photo of a {c}."], "mnist": ["a photo of the number: \"{c}\"."]}"#;
const CLIP_LIST: &str = r#"["a photo of a {}.", "a {class} on a table", "art of the {label}"]"#;
const CUPL: &str = r#"{"tench": ["A tench is a freshwater fish of the carp family.", "A tench has red eyes."], "goldfish": ["A goldfish is small."]}"#;
const CUPL_BY_SET: &str = r#"{"pets": {"Beagle": ["A beagle is a small hound.", "Its ears are long."]}, "birds": {"Jay": ["A jay is a bird."]}}"#;
const DESCRIPTORS: &str =
    r#"{"Indigo Bunting": ["a small, sparrow-like bird", "bright blue plumage"], "hen": ["two legs"]}"#;
const WAFFLE: &str =
    r#"{"school bus": ["which is yellow", "which has large windows"], "cab": ["which has a sign on top"]}"#;

/// A file's name, what stands in it, the format that it is taken for, and how many entries it has.
const WILD: [(&str, &str, Format, usize); 27] = [
    ("styles.csv", STYLES, Format::StylesCsv, 6),
    ("reordered.csv", STYLES_REORDERED, Format::StylesCsv, 2),
    ("old.csv", STYLES_OLD, Format::StylesCsv, 1),
    ("sdxl_styles_fooocus.json", FOOOCUS, Format::Fooocus, 3),
    ("sdxl_styles_twri.json", TWRI, Format::Fooocus, 2),
    ("styles.json", INVOKE, Format::InvokeAi, 2),
    ("presets.json", INVOKE_PRESET, Format::InvokeAiPreset, 1),
    ("modifiers.json", EASY, Format::EasyDiffusion, 3),
    ("hair.txt", HAIR, Format::WildcardsTxt, 7),
    ("nested.yaml", NESTED, Format::WildcardsYaml, 22),
    ("lists.json", NAMED_LISTS, Format::WildcardsJson, 7),
    ("trees.json", ONE_LIST, Format::WildcardsJson, 4),
    ("numbered.txt", NUMBERED, Format::ClipText, 3),
    ("quoted.txt", QUOTED, Format::ClipText, 3),
    ("classnames.txt", CLASSES, Format::ClipText, 3),
    ("openai.py", OPENAI, Format::ClipPython, 6),
    ("open_clip.py", OPEN_CLIP, Format::ClipPython, 4),
    ("prompts.md", PROMPTS_MD, Format::ClipPython, 5),
    ("Prompts.ipynb", NOTEBOOK, Format::ClipPython, 4),
    ("templates.json", CLIP_JSON, Format::ClipJson, 3),
    ("list.json", CLIP_LIST, Format::ClipJson, 3),
    ("en_classnames.json", r#"{"cifar10": ["airplane", "automobile"], "mnist": ["0", "1"]}"#, Format::ClipJson, 4),
    ("cupl.json", CUPL, Format::Cupl, 3),
    ("by_set.json", CUPL_BY_SET, Format::Cupl, 3),
    ("descriptors_cub.json", DESCRIPTORS, Format::Descriptors, 3),
    ("waffle.json", WAFFLE, Format::Descriptors, 3),
    ("single.json", r#"{"name": "One", "prompt": "{prompt}, one"}"#, Format::Fooocus, 1),
];

fn entries(library: &Library) -> usize {
    let lists = library.zero_shot.iter().chain(&library.classes).map(|list| list.lines.len());
    let texts = library.class_prompts.iter().flat_map(|set| &set.classes).map(|(_, texts)| texts.len());
    let modifiers = library.modifiers.iter().map(|category| category.modifiers.len());
    let options = library.wildcards.values().map(|list| list.values.len());
    library.styles.len() + library.templates.len() + lists.chain(texts).chain(modifiers).chain(options).sum::<usize>()
}

/// What is said of Easy Diffusion's pictures, which are not kept.
const PICTURES: &str = "preview pictures are left out";

fn stem(name: &str) -> &str {
    name.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap()
}

#[test]
fn files_of_other_programs_make_the_round() {
    for (name, text, format, count) in WILD {
        assert_eq!(exchange::recognise(name, text), Some(format), "{name}");
        let (library, warnings) = exchange::read(format, stem(name), text);
        let kept: Vec<_> = warnings.into_iter().filter(|warning| !warning.text.contains(PICTURES)).collect();
        assert_eq!((entries(&library), kept), (count, vec![]), "{name}: {library:?}");
        let (written, warnings) = exchange::write(format, &library);
        assert_eq!(warnings, vec![], "{name}");
        let mut again = Library::default();
        for file in &written {
            let own = if file.path.is_empty() { stem(name) } else { stem(&file.path) };
            again.add(exchange::read(format, own, &file.text).0);
        }
        assert_eq!(sorted(again), sorted(library), "{name}: {written:?}");
    }
}

/// Lists of one file are written by name, or templates first.
fn sorted(mut library: Library) -> Library {
    library.class_prompts.sort_by(|a, b| a.name.cmp(&b.name));
    library
}

#[test]
fn what_is_read_is_what_stands_there() {
    let read = |format, name, text| exchange::read(format, name, text).0;
    let styles = read(Format::StylesCsv, "x", STYLES).styles;
    assert_eq!(styles[0].text, "cinematic still of {prompt}, 35mm, \"Kodak\" grain,\r\nshallow depth of field");
    assert_eq!((styles[1].negative.as_str(), styles[5].text.as_str()), ("", "one"));
    let lists = read(Format::WildcardsYaml, "x", NESTED).wildcards;
    let names: Vec<&str> = lists.keys().map(String::as_str).collect();
    let wanted = "base/x block clothes/formal/hats clothes/formal/shoes clothes/hats clothes/single merged/x merged/y places years";
    assert_eq!(names.join(" "), wanted);
    assert_eq!(lists["clothes/formal/hats"].values, lists["clothes/hats"].values);
    let texts: Vec<&str> = lists["years"].values.iter().map(|value| value.text.as_str()).collect();
    assert_eq!(texts, ["1890", "1920", "24.5"]);
    let trees = &read(Format::WildcardsJson, "trees", ONE_LIST).wildcards["trees"].values;
    assert_eq!((trees[2].text.as_str(), trees[2].weight, trees[3].weight), ("elm", 2.0, 3.0));
    let lines = |format, text| read(format, "x", text).zero_shot[0].lines.clone();
    assert_eq!(lines(Format::ClipText, NUMBERED)[2], "art of {}");
    assert_eq!(lines(Format::ClipText, QUOTED), ["a bad photo of a {}.", "a {} in a video game.", "it's a {}."]);
    assert_eq!(lines(Format::ClipJson, CLIP_LIST), ["a photo of a {}.", "a {} on a table", "art of the {}"]);
    assert_eq!(lines(Format::ClipPython, NOTEBOOK), ["a bad photo of a {}.", "a photo of many {}."]);
    // Numbers that do not count, and a line without quotes, are no reason to strip the others.
    assert_eq!(lines(Format::ClipText, "1. a {}\n3. b {}\n"), ["1. a {}", "3. b {}"]);
    assert_eq!(lines(Format::ClipText, "'a {}'\nb {}\n"), ["'a {}'", "b {}"]);
}

#[test]
fn an_entry_of_the_wrong_type_costs_itself_and_is_named() {
    let check = |format, text: &str, count: usize, parts: &[&str]| {
        let (library, warnings) = exchange::read(format, "x", text);
        assert_eq!(entries(&library), count, "{text}: {library:?}");
        assert_eq!(warnings.len(), parts.len(), "{text}: {warnings:?}");
        for (warning, part) in warnings.iter().zip(parts) {
            assert!(warning.to_string().contains(part), "{text}: {warning}");
        }
    };
    let odd = "[{\"name\": \"A\", \"prompt\": 5, \"negative_prompt\": \"n\"},\n{\"name\": \"B\", \"prompt\": \"b\", \"negative_prompt\": [1]}]";
    check(Format::Fooocus, odd, 2, &["line 1: a prompt of \"A\" is no text", "line 2: a prompt of \"B\" is no text"]);
    let odd = r#"[{"name": "A", "preset_data": {"positive_prompt": {"a": 1}, "negative_prompt": "n"}}]"#;
    check(Format::InvokeAiPreset, odd, 1, &["a prompt of \"A\" is no text"]);
    check(Format::WildcardsJson, r#"["a", {"b": 1}, [2]]"#, 1, &["2 entries are neither text nor {text, weight}"]);
    check(Format::WildcardsJson, r#"{"a": ["x", true], "b": false}"#, 1, &["an entry is neither", "neither a list"]);
    check(Format::WildcardsYaml, "a: [x]\nb:\n  <<: 3\n  y: [z]\nc: [w]\n", 3, &["line 3"]);
    let cut = "{\"cells\": [{\"cell_type\": \"code\", \"source\": [\n\"t = ['a {}',\\n\",\n\"'b {}";
    let open = "is never closed";
    check(Format::ClipPython, cut, 1, &["line 3: the text", open, "this list is never closed"]);
    check(Format::Fooocus, r#"[{"name": "A", "prompt": 5}]"#, 0, &["is no text", "has neither prompt"]);
}

#[test]
fn bytes_of_any_kind_are_read_and_what_is_odd_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (format, library, mut warnings) = files::read(&path, None)?;
        warnings.retain(|warning| !warning.contains(PICTURES));
        Ok::<_, String>((format, entries(&library), warnings))
    };
    for (name, text, format, count) in WILD {
        let text = text.trim_start_matches('\u{feff}');
        let wide = |order: fn(u16) -> [u8; 2]| {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect::<Vec<u8>>()
        };
        assert_eq!(read(name, &wide(u16::to_le_bytes)), Ok((format, count, vec![])), "{name}");
        assert_eq!(read(name, &wide(u16::to_be_bytes)), Ok((format, count, vec![])), "{name}");
        // In the middle of a word of the last line that has one.
        let at = text.rfind(|c: char| c.is_ascii_lowercase()).unwrap();
        for (damage, part) in [(&b"\0"[..], "zero characters"), (b"\xff", "not all of it is UTF-8")] {
            let bytes = [&text.as_bytes()[..at], damage, &text.as_bytes()[at..]].concat();
            let (_, found, warnings) = read(name, &bytes).unwrap();
            assert!(found > 0 && warnings[0].contains(part) && warnings[0].contains("line "), "{name}: {warnings:?}");
        }
        for empty in ["", "\u{feff}", "\r\n \n"] {
            let said = read(name, empty.as_bytes()).unwrap_err();
            assert!(said.contains("there is nothing in this file"), "{name}: {said}");
        }
    }
    let said = read("danbooru.csv", b"1girl,0,5000000,\"1girls,sole_female\"\nhighres,5,4000000,\n").unwrap_err();
    assert!(said.contains("list of tags") && said.contains("folder tags"), "{said}");
    let large = std::fs::File::create(folder.path().join("large.txt")).unwrap();
    large.set_len(65 << 20).unwrap();
    let said = files::read(&folder.path().join("large.txt"), None).unwrap_err();
    assert!(said.contains("more than 64 MB"), "{said}");
    assert!(files::read(folder.path(), None).unwrap_err().contains("this is no file"));
}
