//! The prompt editor's stories by label and role, with a scripted backend: what a person does with keyboard and mouse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod window;

use std::path::Path;
use std::sync::Arc;

use egui::accesskit::Role;
use egui::epaint::text::{FallbackRequest, FontProvider};
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use egui_system_font_provider::SystemFontProvider;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use maquette::base::task::TaskCx;
use maquette::engine::mock::plausible_output;
use maquette::job::spec::CountTokensSpec;
use maquette::job::{JobError, JobOutput, JobSpec};
use maquette::prompt::stages::Stages;
use maquette::store::pictures;
use maquette::store::preferences::Preferences;
use maquette::ui::App;
use window::{Dropped, Window, app, click, command, folders, press, retype, wait};

/// A window over a folder of the user's files.
fn window<'a>(root: &Path) -> Window<'a> {
    let folders = folders(root);
    let (preferences, _) = Preferences::read(&folders);
    window::window([1360.0, 1400.0], Some(folders), preferences, plausible_output)
}

/// The user's files: a wildcard and a list of tags.
fn files() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [("wildcards/colour.txt", "red\ngreen\nblue\n"), ("tags/tags.csv", "lighthouse,0,900,beacon\n")]
    {
        let path = root.path().join("presets").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

fn prompt(harness: &Window<'_>) -> String {
    app(harness).workbench().document().prompt.clone()
}

/// Waits until the text has been read, and with it the user's files.
fn wait_until_read(harness: &mut Window<'_>) {
    wait(harness, |app| {
        let reader = app.workbench().reader();
        reader.is_current() && reader.known().names.loras.is_some() && !reader.known().wildcards.is_empty()
    });
}

fn type_text(harness: &mut Window<'_>, text: &str) {
    harness.event(egui::Event::Text(text.to_owned()));
    harness.run_steps(3);
}

/// Puts the keyboard into the prompt and replaces all of it.
fn write(harness: &mut Window<'_>, text: &str) {
    press(harness, Modifiers::COMMAND, Key::P);
    press(harness, Modifiers::COMMAND, Key::A);
    press(harness, Modifiers::NONE, Key::Backspace);
    type_text(harness, text);
    press(harness, Modifiers::NONE, Key::Escape);
    press(harness, Modifiers::COMMAND, Key::P);
}

fn name_of(node: &egui_kittest::kittest::AccessKitNode<'_>) -> String {
    node.label().or_else(|| node.value()).unwrap_or_default()
}

fn has(harness: &Window<'_>, part: &str) -> bool {
    harness.query_all_by(|node| name_of(node).contains(part)).next().is_some()
}

#[test]
fn a_prompt_with_a_wildcard_and_a_weight_is_written_by_keyboard_alone() {
    let root = files();
    let mut harness = window(root.path());
    wait_until_read(&mut harness);
    press(&mut harness, Modifiers::COMMAND, Key::P);
    press(&mut harness, Modifiers::COMMAND, Key::A);
    type_text(&mut harness, "a __co");
    assert!(has(&harness, "Complete colour"), "the list does not open");
    press(&mut harness, Modifiers::NONE, Key::Tab);
    assert_eq!(prompt(&harness), "a __colour__");
    assert!(harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").is_focused(), "Tab left the prompt");
    type_text(&mut harness, " fox");
    press(&mut harness, Modifiers::NONE, Key::Escape);
    press(&mut harness, Modifiers::COMMAND, Key::P);
    press(&mut harness, Modifiers::COMMAND, Key::ArrowUp);
    press(&mut harness, Modifiers::COMMAND, Key::ArrowUp);
    assert_eq!(prompt(&harness), "a __colour__ (fox:1.2)");
    // What is made is definite: the wildcard is drawn.
    press(&mut harness, Modifiers::COMMAND, Key::Enter);
    wait(&mut harness, |app| !app.workbench().preview().results().is_empty());
    let made = app(&harness).workbench().preview().results()[0].spec.prompt.clone();
    let drawn = ["red", "green", "blue"].map(|colour| format!("a {colour} (fox:1.2)"));
    assert!(drawn.contains(&made), "{made:?}");
}

#[test]
fn undo_after_a_weight_restores_the_text_exactly() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a red fox, at sea");
    let before = prompt(&harness);
    press(&mut harness, Modifiers::COMMAND, Key::ArrowUp);
    assert_eq!(prompt(&harness), "a red fox, at (sea:1.1)");
    press(&mut harness, Modifiers::COMMAND, Key::ArrowUp);
    assert_eq!(prompt(&harness), "a red fox, at (sea:1.2)", "the words are still selected");
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(prompt(&harness), before);
    press(&mut harness, Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(prompt(&harness), "a red fox, at (sea:1.1)");
    press(&mut harness, Modifiers::COMMAND, Key::ArrowDown);
    assert_eq!(prompt(&harness), before, "at 1 the brackets go");
}

#[test]
fn the_list_is_walked_through_taken_from_by_click_and_closed() {
    let root = files();
    let mut harness = window(root.path());
    wait_until_read(&mut harness);
    write(&mut harness, "");
    type_text(&mut harness, "beac");
    assert!(has(&harness, "Complete lighthouse (beacon)"), "a tag is not found by its other name");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(prompt(&harness), "lighthouse");
    type_text(&mut harness, ", fo");
    let list = |harness: &Window<'_>| harness.query_all_by(|node| name_of(node).starts_with("Complete ")).count();
    assert!(list(&harness) > 0);
    press(&mut harness, Modifiers::NONE, Key::Escape);
    assert_eq!(list(&harness), 0);
    assert!(harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt").is_focused(), "Escape left the prompt");
    type_text(&mut harness, "g");
    let first = harness.query_all_by(|node| name_of(node).starts_with("Complete ")).next().unwrap();
    let wanted = name_of(&first.accesskit_node()).trim_start_matches("Complete ").to_owned();
    first.click();
    harness.run_steps(4);
    assert_eq!(prompt(&harness), format!("lighthouse, {wanted}"));
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(prompt(&harness), "lighthouse, fog");
}

#[test]
fn a_remark_is_put_right_by_a_click() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a fox, [red:1.3]");
    wait_until_read(&mut harness);
    harness.get_by_role_and_label(Role::Button, "Write a weight").click();
    harness.run_steps(3);
    assert_eq!(prompt(&harness), "a fox, (red:1.3)");
    wait_until_read(&mut harness);
    assert!(harness.query_by_label("Write a weight").is_none());
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(prompt(&harness), "a fox, [red:1.3]");
}

#[test]
fn names_that_nothing_answers_to_are_remarked_on() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a fox <lora:none:1>");
    wait_until_read(&mut harness);
    assert!(has(&harness, "there is no lora called \"none\""));
    harness.get_by_role_and_label(Role::Button, "Remove it").click();
    harness.run_steps(3);
    assert_eq!(prompt(&harness), "a fox ");
    write(&mut harness, "a __colour__ __size__");
    wait_until_read(&mut harness);
    assert!(has(&harness, "there is no wildcard called \"size\""));
}

#[test]
fn chips_follow_the_text_and_the_text_follows_them() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a fox, red, at sea");
    harness.get_by_role_and_label(Role::Button, "Prompt as chips").click();
    harness.run_steps(3);
    let chip = |harness: &mut Window<'_>, words: &str| {
        harness.get_by_role_and_label(Role::Button, &format!("Phrase {words}")).click();
        harness.run_steps(3);
    };
    chip(&mut harness, "red");
    assert_eq!(prompt(&harness), "a fox,\n# red\nat sea");
    chip(&mut harness, "red");
    assert_eq!(prompt(&harness), "a fox, red, at sea");
    harness.get_by_role_and_label(Role::Button, "Phrase at sea").focus();
    harness.run_steps(2);
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(prompt(&harness), "a fox, at sea, red");
    let from = harness.get_by_role_and_label(Role::Button, "Phrase red").rect().center();
    let to = harness.get_by_role_and_label(Role::Button, "Phrase a fox").rect().left_center() + egui::vec2(2.0, 0.0);
    harness.drag_at(from);
    harness.run_steps(2);
    harness.hover_at(from - egui::vec2(12.0, 0.0));
    harness.run_steps(2);
    harness.hover_at(to);
    harness.run_steps(2);
    harness.drop_at(to);
    harness.run_steps(3);
    assert_eq!(prompt(&harness), "red, a fox, at sea");
    for wanted in ["a fox, at sea, red", "a fox, red, at sea", "a fox,\n# red\nat sea", "a fox, red, at sea"] {
        press(&mut harness, Modifiers::COMMAND, Key::Z);
        assert_eq!(prompt(&harness), wanted);
    }
}

#[test]
fn a_pasted_infotext_is_shown_before_it_changes_anything() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a cat");
    let before = app(&harness).workbench().document().clone();
    let info = "a fox\nNegative prompt: text\nSteps: 7, Sampler: Euler a, CFG scale: 3, Seed: 42, Size: 128x128";
    let paste = |harness: &mut Window<'_>| {
        harness.event(egui::Event::Paste(info.to_owned()));
        harness.run_steps(8);
    };
    paste(&mut harness);
    assert!(harness.query_by_label("Take over these settings?").is_some());
    assert_eq!(*app(&harness).workbench().document(), before);
    harness.get_by_role_and_label(Role::Button, "Cancel").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Take over these settings?").is_none());
    assert_eq!(*app(&harness).workbench().document(), before);

    press(&mut harness, Modifiers::COMMAND, Key::P);
    paste(&mut harness);
    harness.get_by_role_and_label(Role::CheckBox, "Steps").click();
    harness.run_steps(2);
    harness.get_by_role_and_label(Role::Button, "Apply").click();
    harness.run_steps(3);
    let document = app(&harness).workbench().document();
    assert_eq!((document.prompt.as_str(), document.negative.as_str()), ("a fox", "text"));
    assert_eq!((document.sampling.seed, document.sampling.steps), (42, before.sampling.steps), "steps were left out");
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(*app(&harness).workbench().document(), before, "it is one step");
}

#[test]
fn prompts_are_kept_as_tabs_and_remembered() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a fox");
    press(&mut harness, Modifiers::COMMAND, Key::T);
    assert_eq!(prompt(&harness), "");
    write(&mut harness, "a lighthouse");
    harness.get_by_role_and_label(Role::Tab, "Prompt 1 of 2").click();
    harness.run_steps(3);
    assert_eq!(prompt(&harness), "a fox");
    press(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(prompt(&harness), "a lighthouse");
    let mut app = harness.state_mut().take().unwrap();
    eframe::App::on_exit(&mut app, None);
    drop(app);
    let mut again = window(root.path());
    assert_eq!(prompt(&again), "a lighthouse");
    press(&mut again, Modifiers::COMMAND, Key::PageDown);
    assert_eq!(prompt(&again), "a fox");
    again.get_by_role_and_label(Role::Button, "Close prompt").click();
    again.run_steps(3);
    assert_eq!((prompt(&again).as_str(), app_count(&again)), ("a lighthouse", 1));
}

#[test]
fn a_new_prompt_is_written_into_at_once_whatever_had_the_keyboard() {
    let root = files();
    let mut harness = window(root.path());
    for name in ["New prompt", "Duplicate prompt"] {
        command(&mut harness, "Show compare");
        command(&mut harness, name);
        type_text(&mut harness, "a red boat");
    }
    assert_eq!((prompt(&harness).as_str(), app_count(&harness)), ("a red boata red boat", 3));
}

fn app_count(harness: &Window<'_>) -> usize {
    app(harness).workbench().document().prompt_count()
}

#[test]
fn words_are_found_in_both_texts() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a red fox, Red sea");
    press(&mut harness, Modifiers::COMMAND, Key::F);
    type_text(&mut harness, "red");
    assert!(has(&harness, "1 of 2"));
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert!(has(&harness, "2 of 2"));
    press(&mut harness, Modifiers::NONE, Key::Escape);
    let field = harness.get_by_role_and_label(Role::MultilineTextInput, "Prompt");
    assert!(field.is_focused());
    type_text(&mut harness, "deep");
    assert_eq!(prompt(&harness), "a red fox, deep sea", "what was found is selected");
}

#[test]
fn what_the_encoder_gets_is_shown_as_it_is_typed() {
    let root = files();
    let mut harness = window(root.path());
    wait_until_read(&mut harness);
    harness.get_by_label("What the encoder gets").click();
    harness.run_steps(30);
    write(&mut harness, "a {fox|cat} [red:blue:0.5]");
    wait_until_read(&mut harness);
    harness.run_steps(2);
    assert!(has(&harness, "Drawn from variants"));
    assert!(has(&harness, "Steps 1 to 10") && has(&harness, "Steps 11 to 20"));
    harness.get_by_role_and_label(Role::CheckBox, "Tokens of each encoder").click();
    harness.run_steps(2);
    assert!(has(&harness, "at most 75"));
}

#[test]
fn what_the_encoder_gets_is_reached_and_read_by_keyboard_alone() {
    let root = files();
    let folders = folders(root.path());
    let (preferences, _) = Preferences::read(&folders);
    let mut harness = window::window([1360.0, 800.0], Some(folders), preferences, plausible_output);
    write(&mut harness, "a {red|blue} fox, {a|b}, [c:d:5]");
    wait_until_read(&mut harness);
    command(&mut harness, "What the encoder gets");
    harness.run_steps(30);
    let top = |harness: &Window<'_>, part: &str| {
        let node = harness.get_all_by(|node| name_of(node).contains(part)).next().unwrap();
        node.rect().top()
    };
    let opened = top(&harness, "What the encoder gets");
    let drawn = top(&harness, "Drawn from variants");
    assert!(opened < 300.0 && drawn > opened && drawn < opened + 60.0, "{opened} {drawn}");
    press(&mut harness, Modifiers::NONE, Key::PageUp);
    harness.run_steps(30);
    assert!(top(&harness, "Drawn from variants") > drawn + 50.0, "a page up shows what is above");
}

#[test]
fn text_of_many_scripts_can_be_edited() {
    let root = files();
    let mut harness = window(root.path());
    let text = "여우 한 마리, キツネ, 狐狸, лиса, 👩\u{200d}💻 ";
    write(&mut harness, text);
    assert_eq!(prompt(&harness), text);
    harness.event(egui::Event::Ime(egui::ImeEvent::Commit("바다".to_owned())));
    harness.run_steps(3);
    assert!(prompt(&harness).ends_with("바다"), "{:?}", prompt(&harness));
    press(&mut harness, Modifiers::NONE, Key::Backspace);
    assert!(prompt(&harness).ends_with('바'));
}

#[test]
fn no_character_is_a_box_that_a_font_of_the_system_has() {
    let provider = Arc::new(SystemFontProvider::new());
    let text = "여우 キツネ 狐狸 лиса მელა ثعلب 🦊";
    let fonts = provider.clone();
    let mut harness = Harness::builder().allow_missing_glyphs().build_ui_state(
        move |ui, is_set: &mut bool| {
            if !std::mem::replace(is_set, true) {
                ui.ctx().add_font_provider(fonts.clone());
            }
            ui.label(text);
        },
        false,
    );
    harness.run_steps(4);
    let font = egui::FontId::proportional(13.5);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        let cluster = c.to_string();
        let request = FallbackRequest { cluster: &cluster, family: &font.family };
        if provider.font_for(&request).is_some() {
            assert!(harness.ctx.fonts_mut(|fonts| fonts.has_glyph(&font, c)), "{c} is shown as a box");
        }
    }
}

/// An EXIF record with a comment as A1111 writes it: the high byte first, whatever the record does.
fn exif_record(comment: &str) -> Vec<u8> {
    let mut bytes = b"UNICODE\0".to_vec();
    bytes.extend(comment.encode_utf16().flat_map(u16::to_be_bytes));
    let value = exif::Value::Undefined(bytes, 0);
    let field = exif::Field { tag: exif::Tag::UserComment, ifd_num: exif::In::PRIMARY, value };
    let mut writer = exif::experimental::Writer::new();
    writer.push_field(&field);
    let mut record = std::io::Cursor::new(Vec::new());
    writer.write(&mut record, true).unwrap();
    record.into_inner()
}

#[test]
fn a_dropped_picture_proposes_what_made_it() {
    let root = files();
    let mut harness = window(root.path());
    write(&mut harness, "a fox");
    press(&mut harness, Modifiers::COMMAND, Key::Enter);
    wait(&mut harness, |app| !app.workbench().preview().results().is_empty());
    let made = app(&harness).workbench().preview().results()[0].clone();
    let ours = root.path().join("ours.png");
    let record = pictures::job_record(&made.spec, made.seed, &made.model_hash);
    pictures::write_png(&ours, &made.picture, Some(&record)).unwrap();
    let theirs = root.path().join("theirs.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&theirs).unwrap(), 1, 1);
    encoder.add_text_chunk("parameters".to_owned(), "a sea\nSteps: 4, Seed: 9, Size: 64x64".to_owned()).unwrap();
    encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
    let (jpeg, webp) = (root.path().join("theirs.jpg"), root.path().join("theirs.webp"));
    let record = exif_record("a 狐\nSteps: 4, Seed: 9, Size: 64x64");
    let mut encoder = JpegEncoder::new(std::fs::File::create(&jpeg).unwrap());
    encoder.set_exif_metadata(record.clone()).unwrap();
    encoder.write_image(&[0, 0, 0], 1, 1, ExtendedColorType::Rgb8).unwrap();
    let mut encoder = WebPEncoder::new_lossless(std::fs::File::create(&webp).unwrap());
    encoder.set_exif_metadata(record).unwrap();
    encoder.write_image(&[0, 0, 0], 1, 1, ExtendedColorType::Rgb8).unwrap();
    for (path, wanted) in [(ours, "a fox"), (theirs, "a sea"), (jpeg, "a 狐"), (webp, "a 狐")] {
        write(&mut harness, "something else");
        harness.input_mut().dropped_files = vec![Arc::new(Dropped(path))];
        harness.step();
        wait(&mut harness, |app| app.workbench().proposal().is_some());
        assert_eq!(prompt(&harness), "something else");
        harness.run_steps(6);
        press(&mut harness, Modifiers::NONE, Key::Enter);
        assert_eq!(prompt(&harness), wanted, "Apply has the keyboard");
    }
}

/// As the scripted backend answers, but only with the words that hold at the step that is asked for.
fn at_its_step(spec: &JobSpec, cx: &TaskCx<'_>) -> Result<JobOutput, JobError> {
    let JobSpec::CountTokens(asked) = spec else { return plausible_output(spec, cx) };
    let text = Stages::new(&asked.prompt, asked.steps).schedules[0].at(asked.step);
    let asked = CountTokensSpec { prompt: text.text().to_owned(), ..asked.clone() };
    let mut output = plausible_output(&JobSpec::CountTokens(asked), cx)?;
    if let JobOutput::Tokens { prompt, .. } = &mut output {
        let chunks = prompt.parts.iter_mut().flatten().flat_map(|encoder| &mut encoder.chunks);
        chunks.flatten().for_each(|token| token.span = text.span(token.span.clone()));
    }
    Ok(output)
}

#[test]
fn borders_and_tokens_are_found_under_templates_and_choices_at_any_step() {
    let (root, words) = (files(), "word ".repeat(74));
    let template = "[[template]]\nname = \"Ink\"\ntext = \"{subject} in ink, {chalk|chalk}\"\n";
    let path = root.path().join("presets/templates/own.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, template).unwrap();
    let folders = folders(root.path());
    let (preferences, _) = Preferences::read(&folders);
    let mut harness = window::window([1360.0, 1400.0], Some(folders), preferences, at_its_step);
    wait_until_read(&mut harness);
    let text = format!("{words}[a:lone:10] __colour__ {{fox|fox}}");
    write(&mut harness, &text);
    harness.get_by_label("What the encoder gets").click();
    command(&mut harness, "Show library");
    click(&mut harness, "Templates");
    harness.get_by_label("Search the library").focus();
    harness.run_steps(1);
    retype(&mut harness, "chalk");
    harness.get_by_role_and_label(Role::Button, "Ink").click();
    harness.run_steps(3);
    command(&mut harness, "Edit prompt");
    let last = |app: &App| Some(app.workbench().tokens()?.tokens[0].parts[0][0].chunks.last()?.last()?.clone());
    wait(&mut harness, |app| last(app).is_some_and(|token| token.text == "chalk"));
    let starts = |harness: &Window<'_>| {
        let tokens = app(harness).workbench().tokens().unwrap();
        let chunks = &tokens.tokens[0].parts[0][0].chunks;
        chunks.iter().map(|chunk| text[chunk[0].span.clone()].to_owned()).collect::<Vec<_>>()
    };
    // The 76th word is drawn from a list, and stands where the list is named.
    assert_eq!(starts(&harness), ["word", "__colour__"]);
    assert!(last(app(&harness)).unwrap().span.is_empty(), "it stands for no word that was typed");
    assert!(has(&harness, "Templates and styles applied") && has(&harness, "in ink, {chalk|chalk}"));
    // It may be out of sight, below all that was made of these words.
    harness.get_by_label("Steps 11 to 20").click_accesskit();
    harness.run_steps(3);
    wait(&mut harness, |app| app.workbench().tokens().is_some_and(|read| read.step == 11));
    let second = app(&harness).workbench().tokens().unwrap().tokens[0].parts[0][0].chunks[0].clone();
    assert_eq!(&text[second[74].span.clone()], "lone");
}
