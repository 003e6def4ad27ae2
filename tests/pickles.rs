//! Pickled files of PyTorch read without running them, damaged and hostile ones refused, and textual inversions in every form.
//! `golden/pickle/make.py` made the files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use maquette::base::task::TaskCx;
use maquette::models::embedding::Embedding;
use maquette::models::files::checkpoint::Checkpoint;
use maquette::models::files::{ModelFiles, Weights};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pickle").join(name)
}

fn open(folder: &Path, file: &str) -> Result<Weights, String> {
    ModelFiles::Folder(folder.to_owned()).weights(file).map_err(|error| error.to_string())
}

fn numbers(tensor: &Tensor) -> (Vec<usize>, Vec<f64>) {
    let values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (tensor.dims().to_vec(), values)
}

fn get(weights: &Weights, name: &str) -> (Vec<usize>, Vec<f64>) {
    numbers(&weights.tensors(DType::F64, &Device::Cpu, &TaskCx::detached()).get_unchecked(name).unwrap())
}

#[test]
fn tensors_of_every_kind_are_those_that_were_saved() {
    let want = candle_core::safetensors::load(golden("plain.safetensors"), &Device::Cpu).unwrap();
    let (plain, nested) = (open(&golden(""), "plain.pt").unwrap(), open(&golden(""), "nested.ckpt").unwrap());
    assert_eq!(plain.names().count(), want.len());
    assert_eq!(nested.names().count(), want.len());
    for (name, tensor) in &want {
        assert_eq!(get(&plain, name), numbers(tensor), "{name}");
        assert_eq!(get(&nested, &format!("net.{name}")), numbers(tensor), "{name}");
    }
    assert_eq!(nested.metadata()["name"], "a model");
}

#[test]
fn nothing_is_run_and_what_is_not_read_is_said() {
    let evil = open(&golden(""), "evil.pt").unwrap();
    assert_eq!(evil.names().collect::<Vec<_>>(), ["good"]);
    assert!(!Path::new("maquette-was-here").exists());
    for (file, part) in [("scattered.pt", "scattered"), ("legacy.pt", "before 1.6")] {
        let error = open(&golden(""), file).err().unwrap();
        for part in [part, file, "weights_only=True"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
    let error = Checkpoint::open(&golden("nested.ckpt")).err().unwrap().to_string();
    assert!(error.contains("no denoising net"), "{error}");
}

/// A zip archive of these files, not packed.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = out.len() as u32;
        let sizes = [0, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let lengths = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        let same = [&[0; 10][..], &sizes, &lengths].concat();
        out.extend([b"PK\x03\x04", &same[..], name.as_bytes(), bytes].concat());
        list.extend([b"PK\x01\x02\x00\x00", &same[..], &[0; 10][..], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), (out.len() as u32).to_le_bytes());
    let length = (list.len() as u32).to_le_bytes();
    out.extend(&list);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &start, &[0, 0]].concat());
    out
}

#[test]
fn hostile_pickles_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let read = |pickle: &[u8]| {
        std::fs::write(folder.path().join("x.pt"), zip(&[("x/data.pkl", pickle), ("x/data/0", &[0; 8])])).unwrap();
        open(folder.path(), "x.pt")
    };
    let tensor = |kind: &str, offset: u8, shape: &[u8], stride: &[u8]| {
        let tuple =
            |items: &[u8]| [b"(".to_vec(), items.iter().flat_map(|i| [b'K', *i]).collect(), b"t".to_vec()].concat();
        let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        let storage =
            [b"(", &text("storage")[..], format!("ctorch\n{kind}\n").as_bytes(), &text("0"), &text("cpu"), b"K\x02tQ"]
                .concat();
        let call = [
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            &storage[..],
            &[b'K', offset],
            &tuple(shape),
            &tuple(stride),
            b"\x89}tR",
        ];
        [&b"\x80\x02}"[..], &text("a"), &call.concat(), b"s."].concat()
    };
    let good = read(&tensor("FloatStorage", 0, &[2], &[1])).unwrap();
    assert_eq!(get(&good, "a"), (vec![2], vec![0.0; 2]));
    for (kind, offset, shape, stride) in [
        ("FloatStorage", 1, &[2][..], &[1][..]),
        ("FloatStorage", 0, &[255; 20], &[1; 20]),
        ("FloatStorage", 255, &[1], &[1]),
        ("FloatStorage", 0, &[2], &[]),
        ("DoubleStorage", 0, &[2], &[1]),
        ("ComplexFloatStorage", 0, &[1], &[1]),
        ("FloatStorage", 0, &[3, 3], &[0, 0]),
    ] {
        assert!(read(&tensor(kind, offset, shape, stride)).is_err(), "{kind} {offset} {shape:?}");
    }
    // Deep, circular and exploding structures, lengths beyond the file, and nonsense.
    let deep = [b")".to_vec(), vec![0x85; 3_000_000], b".".to_vec()].concat();
    let circle = b"}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec();
    let mut bomb = b"}q\x00".to_vec();
    for level in 1..20u8 {
        bomb.push(b'}');
        bomb.extend([b'q', level, b'(']);
        for key in 0..50u8 {
            bomb.extend([b'X', 1, 0, 0, 0, b'a' + key % 26, b'h', level - 1]);
        }
        bomb.push(b'u');
    }
    bomb.push(b'.');
    let copies =
        [b"X\xff\xff\xff\x7fabc.".to_vec(), b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(), b"(((".to_vec()];
    let nonsense = [
        b"".to_vec(),
        b".".to_vec(),
        b"t.".to_vec(),
        b"0.".to_vec(),
        b"h\x05.".to_vec(),
        b"\xff.".to_vec(),
        b"cos\n".to_vec(),
    ];
    for pickle in [vec![deep, circle, bomb, vec![b'N'; 9_000_000]], copies.to_vec(), nonsense.to_vec()].concat() {
        if let Ok(weights) = read(&pickle) {
            assert_eq!(weights.names().count(), 0);
        }
    }
}

#[test]
fn files_damaged_at_random_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for name in ["plain.pt", "nested.ckpt", "a1111.pt"] {
        let whole = std::fs::read(golden(name)).unwrap();
        for round in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            if round % 5 == 0 {
                bytes.truncate(random(whole.len()));
            }
            std::fs::write(folder.path().join("x.pt"), &bytes).unwrap();
            let Ok(weights) = open(folder.path(), "x.pt") else { continue };
            let cx = TaskCx::detached();
            let vb = weights.tensors(DType::F32, &Device::Cpu, &cx);
            for name in weights.names() {
                // Kinds of numbers that are not read, and numbers that are none, are errors.
                let _ = vb.get_unchecked(name);
            }
            let _ = Embedding::load(&folder.path().join("x.pt"));
        }
    }
}

#[test]
fn textual_inversions_are_read_in_every_form() {
    let want = candle_core::safetensors::load(golden("words.safetensors"), &Device::Cpu).unwrap();
    let words = numbers(&want["words"]);
    for (file, name, tolerance) in [
        ("a1111.pt", "mood", 0.0),
        ("a1111_plain.pt", "mood", 0.0),
        ("kohya.safetensors", "kohya", 2e-3),
        ("diffusers.safetensors", "<cat-toy>", 0.0),
        ("picture.png", "mood", 1e-7),
    ] {
        let embedding = Embedding::load(&golden(file)).unwrap();
        assert_eq!((embedding.name.as_str(), embedding.len()), (name, 2), "{file}");
        let got = numbers(embedding.for_tower(0, 16).unwrap());
        assert_eq!(got.0, words.0);
        let worst = got.1.iter().zip(&words.1).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= tolerance, "{file}: {worst}");
    }
    let one = Embedding::load(&golden("diffusers.bin")).unwrap();
    assert_eq!((one.name.as_str(), one.len()), ("<cat-toy>", 1));
    let two = Embedding::load(&golden("sdxl.safetensors")).unwrap();
    assert_eq!(two.name, "sdxl");
    assert_eq!(numbers(two.for_tower(0, 16).unwrap()), words);
    assert_eq!(numbers(two.for_tower(1, 24).unwrap()), numbers(&want["other"]));
    for (tower, width) in [(0, 24), (1, 16), (2, 16)] {
        let error = two.for_tower(tower, width).err().unwrap().to_string();
        assert!(error.contains("16 and 24") && error.contains(&width.to_string()), "{error}");
    }
}

#[test]
fn what_is_no_textual_inversion_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path, part: &str| {
        let error = Embedding::load(path).err().unwrap().to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    };
    refused(&golden("plain.pt"), "no textual inversion");
    refused(&golden("words.safetensors"), "no textual inversion");
    refused(&golden("make.py"), ".safetensors, .pt, .bin or .png");
    refused(Path::new("nowhere.pt"), "nowhere.pt");
    let save = |shape: &[usize]| {
        let path = folder.path().join("x.safetensors");
        let tensor = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&[("emb_params", tensor)].into_iter().collect(), &path).unwrap();
        path
    };
    for shape in [&[][..], &[0, 4], &[4, 0], &[2, 2, 2], &[4096, 2]] {
        refused(&save(shape), "no textual inversion");
    }
    let picture = std::fs::read(golden("picture.png")).unwrap();
    let at = picture.windows(15).position(|part| part == b"sd-ti-embedding").unwrap();
    for (name, change) in [("a.png", at), ("b.png", at + 40), ("c.png", 3)] {
        let mut bytes = picture.clone();
        bytes[at.min(change)] = if change == at { b'x' } else { bytes[at.min(change)] };
        bytes[change] = b'?';
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert!(Embedding::load(&path).is_err(), "{name}");
    }
}

#[test]
fn a_packed_text_of_a_picture_costs_no_more_than_a_word_can_need() {
    use base64::Engine;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mood.png");
    let load = |text: &str| {
        let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 1, 1);
        encoder.add_ztxt_chunk("sd-ti-embedding".to_owned(), text.to_owned()).unwrap();
        encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
        Embedding::load(&path).map_err(|error| error.to_string())
    };
    let word = r#"{"name": "mood", "string_to_param": {"*": [[0.5, 1.0]]}}"#;
    let word = load(&base64::engine::general_purpose::STANDARD.encode(word)).unwrap();
    assert_eq!((word.name.as_str(), word.len()), ("mood", 1));
    let error = load(&"A".repeat(100 << 20)).unwrap_err();
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20, "the file itself is small");
    assert!(error.contains("has no text"), "{error}");
}
