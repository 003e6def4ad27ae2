//! Undo stories, and undo and redo under arbitrary edits.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::base::geom::{Extent, ImagePoint, ImageRect};
use crate::base::pixels::{Paint, Picture};
use crate::document::{Canvas, ControlChoice, LoraChoice, Steering, TextField};
use crate::job::annotation::{Mark, MarkColour, MarkShape};

fn prompt(text: &str) -> Edit {
    Edit::SetText { field: TextField::Prompt, text: text.to_owned() }
}

fn dot(x: f32) -> Edit {
    let at = ImagePoint::new(x, 32.0);
    Edit::PaintSegment { from: at, to: at, radius: 4.0, paint: Paint::Add }
}

fn with_canvas() -> History {
    let picture = Picture::from_fn(Extent::new(96, 64), |x, y| [x as u8, y as u8, 0]);
    History::new(Document { canvas: Some(Canvas::new(picture, "test")), ..Document::default() })
}

/// Plays a story, two seconds before each step but half a second before "more", and says what the prompt is and which columns are painted at the end.
fn play(story: &str) -> String {
    let mut history = with_canvas();
    let mut now = Duration::ZERO;
    for step in story.split(';').map(str::trim) {
        now += Duration::from_millis(if step.starts_with("more") { 500 } else { 2000 });
        match step.split_once(' ').unwrap_or((step, "")) {
            ("type" | "more", text) => history.apply(prompt(text), now).unwrap(),
            ("paint", x) => history.apply(dot(x.parse().unwrap()), now).unwrap(),
            ("begin", _) => history.begin_gesture(),
            ("end", _) => history.end_gesture(),
            ("abort", _) => history.abort_gesture(),
            ("seal", _) => history.end_run(),
            ("undo", _) => drop(history.undo()),
            ("redo", _) => drop(history.redo()),
            other => panic!("no such step: {other:?}"),
        }
    }
    let mask = &history.document().canvas.as_ref().unwrap().mask;
    let painted: Vec<String> =
        [10, 30, 50, 70].iter().filter(|x| mask.coverage(**x, 32) > 0).map(ToString::to_string).collect();
    format!("{:?} {}", history.document().prompt, painted.join(" "))
}

#[test]
fn stories_end_where_a_person_expects() {
    for (story, end) in [
        ("paint 10; paint 30; undo", r#""" 10"#),
        ("paint 10; paint 30; undo; undo; redo", r#""" 10"#),
        ("begin; paint 10; paint 30; end; undo", r#""" "#),
        ("begin; paint 10; paint 30; end; paint 50; undo", r#""" 10 30"#),
        ("paint 10; begin; paint 30; abort", r#""" 10"#),
        ("type a; more ab; more abc; undo", r#""" "#),
        ("type a; type ab; undo", r#""a" "#),
        ("type a; seal; more ab; undo", r#""a" "#),
        ("paint 10; undo; paint 30; redo", r#""" 30"#),
        // An aborted stroke is no step, so what was undone can still be done again.
        ("paint 10; undo; begin; paint 30; abort; redo", r#""" 10"#),
        ("paint 10; undo; begin; paint 30; end; redo", r#""" 30"#),
        ("begin; paint 10; undo", r#""" "#),
    ] {
        assert_eq!(play(story), end, "{story}");
    }
}

#[test]
fn the_oldest_states_go_when_they_cost_too_much() {
    let mut history = with_canvas();
    history.budget_bytes = 40_000;
    for step in 0..40 {
        history.apply(dot(step as f32 * 2.0), Duration::from_secs(step)).unwrap();
    }
    assert!(history.undo.len() < 20, "{} states are kept", history.undo.len());
    assert!(history.undo.iter().map(|state| state.cost).sum::<usize>() <= 40_000);
    let newest = history.document().clone();
    assert!(history.undo());
    assert_ne!(*history.document(), newest);
}

#[test]
fn the_same_picture_opened_again_keeps_its_identity() {
    let mut history = with_canvas();
    let before = history.document().canvas.as_ref().unwrap().picture.clone();
    history.apply(dot(10.0), Duration::ZERO).unwrap();
    let again = Picture::from_rgb(before.extent(), before.rgb().to_vec()).unwrap();
    history.apply(Edit::OpenPicture { picture: again, name: "test".to_owned() }, Duration::from_secs(9)).unwrap();
    let canvas = history.document().canvas.as_ref().unwrap();
    assert_eq!(canvas.picture.revision(), before.revision());
    assert!(canvas.mask.is_empty());
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let point = || (0.0f32..96.0, 0.0f32..64.0).prop_map(|(x, y)| ImagePoint::new(x, y));
    let rect = || (point(), point()).prop_map(|(a, b)| ImageRect::from_corners(a, b));
    let paint = || prop_oneof![Just(Paint::Add), Just(Paint::Erase)];
    prop_oneof![
        "[a-z ,]{0,12}".prop_map(|text| prompt(&text)),
        (point(), point(), 1.0f32..20.0, paint()).prop_map(|(from, to, radius, paint)| Edit::PaintSegment {
            from,
            to,
            radius,
            paint
        }),
        (rect(), paint()).prop_map(|(rect, paint)| Edit::PaintRect { rect, paint }),
        (rect(), paint()).prop_map(|(rect, paint)| Edit::PaintEllipse { rect, paint }),
        Just(Edit::ClearMask),
        Just(Edit::InvertMask),
        rect().prop_map(|rect| Edit::AddMark(Mark { shape: MarkShape::Box { rect }, colour: MarkColour::Blue })),
        point().prop_map(|at| Edit::AddMark(Mark {
            shape: MarkShape::Brush { points: vec![at], radius: 3.0 },
            colour: MarkColour::Red
        })),
        point().prop_map(Edit::ExtendMark),
        Just(Edit::RemoveLastMark),
        Just(Edit::ClearMarks),
        (0.0f32..1.0).prop_map(Edit::SetStrength),
    ]
}

#[test]
fn dragging_a_strength_is_one_step_and_adding_is_another() {
    let mut history = with_canvas();
    let mut steering = Steering::default();
    let set = |history: &mut History, steering: &Steering, millis: u64| {
        history.apply(Edit::SetSteering(Box::new(steering.clone())), Duration::from_millis(millis))
    };
    steering.loras.push(LoraChoice::new("ink", "/ink"));
    set(&mut history, &steering, 0).unwrap();
    for (i, strength) in [0.9, 0.8, 0.7].into_iter().enumerate() {
        steering.loras[0].strength = strength;
        set(&mut history, &steering, 10 + i as u64).unwrap();
    }
    steering.loras[0].is_on = false;
    set(&mut history, &steering, 20).unwrap();
    let strengths = |history: &History| -> Vec<(f32, bool)> {
        history.document().steering.loras.iter().map(|lora| (lora.strength, lora.is_on)).collect()
    };
    let mut seen = vec![strengths(&history)];
    while history.undo() {
        seen.push(strengths(&history));
    }
    assert_eq!(seen, [vec![(0.7, false)], vec![(0.7, true)], vec![(1.0, true)], vec![]]);
    steering.loras[0].strength = f32::NAN;
    assert!(set(&mut history, &steering, 5000).is_err());
    let mut control = ControlChoice::new("edges", "/edges".into());
    (control.start, control.end) = (0.5, 0.5);
    let backwards = Steering { controls: vec![control], ..Steering::default() };
    assert!(set(&mut history, &backwards, 9000).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn undo_walks_back_through_every_state_and_redo_forward_again(edits in prop::collection::vec(any_edit(), 1..12)) {
        let mut history = with_canvas();
        let mut states = vec![history.document().clone()];
        for (at, edit) in edits.into_iter().enumerate() {
            // A refused edit (no mark to remove, say) is no step.
            let _ = history.apply(edit, Duration::from_secs(at as u64 * 10));
            if states.last() != Some(history.document()) {
                states.push(history.document().clone());
            }
        }
        for state in states.iter().rev().skip(1) {
            prop_assert!(history.undo());
            prop_assert_eq!(history.document(), state);
        }
        prop_assert!(!history.undo());
        for state in states.iter().skip(1) {
            prop_assert!(history.redo());
            prop_assert_eq!(history.document(), state);
        }
        prop_assert!(!history.redo());
    }
}
