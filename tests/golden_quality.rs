//! What the quality check computes against PyTorch and Pillow: the judge on a tiny seeded net, the effects on a small picture.
//!
//! `tests/golden/judge/make.py` and `tests/golden/effects/make.py` made the files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use maquette::base::task::TaskCx;
use maquette::models::ModelError;
use maquette::models::files::ModelFiles;
use maquette::models::judge::Judge;
use maquette::quality::effects;
use maquette::quality::scene::{Asked, Combinations, Kind, Scene, SceneMaker};
use maquette::store::pictures;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn the_judge_says_what_pytorch_says() {
    let judge = Judge::load(&ModelFiles::Folder(folder("judge")), DType::F32, &Device::Cpu).unwrap();
    let picture = pictures::read(&folder("judge/picture.png")).unwrap();
    let verdict = judge.look(&picture, &TaskCx::detached()).unwrap();
    assert_eq!((verdict.rows, verdict.columns), (2, 4));
    let expected = candle_core::safetensors::load(folder("judge/expected.safetensors"), &Device::Cpu).unwrap();
    let things = verdict.things.concat();
    for (name, got) in [
        ("cells", &things),
        ("style", &verdict.style),
        ("background", &verdict.background),
        ("effect", &verdict.effect),
    ] {
        let want: Vec<f32> = expected[name].flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(got.len(), want.len(), "{name}");
        let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-5, "{name}: off by {worst:e}");
    }
}

#[test]
fn a_judge_without_weights_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(self::folder("judge/config.json"), folder.path().join("config.json")).unwrap();
    let error = Judge::load(&ModelFiles::Folder(folder.path().into()), DType::F32, &Device::Cpu).err().unwrap();
    assert!(matches!(&error, ModelError::MissingFile { path } if path.ends_with("model.safetensors")), "{error}");
}

#[test]
fn effects_are_those_of_pillow() {
    let picture = pictures::read(&folder("effects/picture.png")).unwrap();
    for effect in SceneMaker::load().unwrap().world().effects.iter().map(|effect| effect.name.as_str()) {
        let want = pictures::read(&folder("effects").join(format!("{}.png", effect.replace(' ', "-")))).unwrap();
        let got = effects::apply(effect, &picture).unwrap();
        assert_eq!(got.extent(), want.extent(), "{effect}");
        let worst = got.rgb().iter().zip(want.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{effect}: off by {worst}");
    }
    assert_eq!(effects::apply("magic", &picture), None);
}

fn asked(kind: Option<Kind>, combinations: Combinations) -> Asked {
    Asked { kind, effect: Some(false), combinations, side: 128 }
}

#[test]
fn a_seed_fixes_a_scene() {
    let maker = SceneMaker::load().unwrap();
    let draw = |seed| {
        let mut r = ChaCha8Rng::seed_from_u64(seed);
        (0..4).map(|_| maker.scene(&mut r, asked(None, Combinations::All)).unwrap()).collect::<Vec<Scene>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn labels_lie_where_the_things_are_and_captions_name_them() {
    let maker = SceneMaker::load().unwrap();
    let mut r = ChaCha8Rng::seed_from_u64(3);
    for kind in [Kind::One, Kind::Pair, Kind::Several, Kind::Many] {
        for _ in 0..5 {
            let scene = maker.scene(&mut r, asked(Some(kind), Combinations::All)).unwrap();
            let labels: HashSet<u16> = scene.labels.iter().copied().collect();
            for (thing, place) in &scene.things {
                assert!(labels.contains(&(*thing as u16 + 1)), "{}", scene.caption);
                let inside = |at: usize| {
                    let (x, y) = ((at % 128) as f32, (at / 128) as f32);
                    x >= place.min.x && x < place.max.x && y >= place.min.y && y < place.max.y
                };
                // Things that are there once are nowhere else.
                if kind != Kind::Several {
                    let own = scene.labels.iter().enumerate().filter(|(_, label)| **label == *thing as u16 + 1);
                    assert!(own.map(|(at, _)| at).all(inside), "{}", scene.caption);
                }
            }
            let name = &maker.world().things[scene.things[0].0].name;
            let is_named = scene.caption.contains(name.as_str()) || kind == Kind::Several;
            assert!(is_named, "{} does not name {name}", scene.caption);
            assert!(scene.reversed_caption.is_none() || kind == Kind::Pair, "{}", scene.caption);
            assert_ne!(scene.reversed_caption.as_ref(), Some(&scene.caption));
        }
    }
}

#[test]
fn pairs_that_training_never_shows_appear_only_when_asked_for() {
    let maker = SceneMaker::load().unwrap();
    let world = maker.world();
    let mut r = ChaCha8Rng::seed_from_u64(4);
    let mut is_unseen = |combinations| {
        let scene = maker.scene(&mut r, asked(Some(Kind::One), combinations)).unwrap();
        let thing = scene.things[0].0;
        world.is_style_held_out(thing, scene.style) || world.is_background_held_out(thing, scene.background)
    };
    assert!((0..30).all(|_| !is_unseen(Combinations::Seen)));
    assert!((0..10).all(|_| is_unseen(Combinations::Unseen)));
}
