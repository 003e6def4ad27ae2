//! Reading weights: places inside files, parts, and files that cannot be used.
#![allow(clippy::unwrap_used)]

use super::*;

/// A file of these tensors: name, type, shape, bytes.
fn file(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut json, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, kind, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        json.insert((*name).to_owned(), serde_json::json!({"dtype": kind, "shape": shape, "data_offsets": offsets}));
        data.extend(bytes);
    }
    let json = serde_json::to_vec(&json).unwrap();
    [&(json.len() as u64).to_le_bytes()[..], &json, &data].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A folder of these files.
fn folder(contents: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in contents {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let files = ModelFiles::Folder(folder.path().to_owned());
    (folder, files)
}

fn read(weights: &Weights, place: Place, shape: &[usize]) -> Result<Vec<f32>> {
    let naming: Naming = Box::new(move |_, _| place.clone());
    let cx = TaskCx::detached();
    let vb = Tensors::new(weights, naming, DType::F32, &Device::Cpu, &cx);
    Ok(vb.get(shape, "anything")?.flatten_all()?.to_vec1()?)
}

#[track_caller]
fn refused<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().unwrap().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn parts_and_matrices_on_their_side_are_found() {
    let numbers: Vec<f32> = (0..12u8).map(f32::from).collect();
    let (_keep, files) = folder(&[("w.safetensors", file(&[("m", "F32", &[6, 2], floats(&numbers))]))]);
    let weights = files.weights("w.safetensors").unwrap();
    let part = |part| Place { part: Some((part, 3)), ..Place::plain("m") };
    assert_eq!(read(&weights, part(1), &[2, 2]).unwrap(), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(read(&weights, part(2), &[1, 2, 2]).unwrap(), [8.0, 9.0, 10.0, 11.0]);
    let side = Place { is_transposed: true, ..Place::plain("m") };
    assert_eq!(read(&weights, side, &[2, 6]).unwrap()[..7], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0]);
    refused(read(&weights, part(1), &[2, 3]), &["w.safetensors", "[2, 2]", "[2, 3]", "does not fit"]);
    refused(read(&weights, Place::plain("m"), &[2, 6]), &["[6, 2]", "does not fit"]);
    refused(read(&weights, Place::plain("n"), &[2]), &["w.safetensors", "no tensor \"n\"", "does not fit"]);
    refused(read(&weights, Place { part: Some((0, 4)), ..Place::plain("m") }, &[2]), &["4 parts"]);
}

#[test]
fn numbers_that_are_none_are_refused_at_every_precision() {
    // One, the largest, a tiny one and zero are numbers; infinity and NaN are not.
    type Case<'a> = (&'a str, [&'a [u8]; 4], [&'a [u8]; 3]);
    let cases: [Case<'_>; 4] = [
        ("F16", [&[0, 0x3c], &[0xff, 0x7b], &[1, 0], &[0, 0x80]], [&[0, 0x7c], &[0, 0xfc], &[1, 0x7e]]),
        ("BF16", [&[0x80, 0x3f], &[0x7f, 0x7f], &[1, 0], &[0, 0x80]], [&[0x80, 0x7f], &[0x80, 0xff], &[0xc0, 0x7f]]),
        (
            "F32",
            [&[0, 0, 0x80, 0x3f], &[0xff, 0xff, 0x7f, 0x7f], &[1, 0, 0, 0], &[0, 0, 0, 0x80]],
            [&[0, 0, 0x80, 0x7f], &[0, 0, 0x80, 0xff], &[1, 0, 0xc0, 0x7f]],
        ),
        (
            "F64",
            [
                &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0x3f],
                &[1, 0, 0, 0, 0, 0, 0, 0],
                &[0; 8],
            ],
            [&[0, 0, 0, 0, 0, 0, 0xf0, 0x7f], &[0, 0, 0, 0, 0, 0, 0xf0, 0xff], &[1, 0, 0, 0, 0, 0, 0xf8, 0x7f]],
        ),
    ];
    for (kind, good, bad) in cases {
        let open = |bytes: Vec<u8>| {
            let (keep, files) = folder(&[("w.safetensors", file(&[("x", kind, &[4], bytes)]))]);
            (keep, files.weights("w.safetensors").unwrap())
        };
        let (_keep, weights) = open(good.concat());
        assert_eq!(read(&weights, Place::plain("x"), &[4]).unwrap()[0], 1.0, "{kind}");
        for bad in bad {
            let (_keep, weights) = open([good[0], good[1], good[2], bad].concat());
            refused(read(&weights, Place::plain("x"), &[4]), &["w.safetensors", "\"x\"", "NaN", "download"]);
        }
    }
    let (_keep, files) = folder(&[("w.safetensors", file(&[("x", "I64", &[1], vec![0; 8])]))]);
    refused(read(&files.weights("w.safetensors").unwrap(), Place::plain("x"), &[1]), &["I64", "F16"]);
}

#[test]
fn variants_and_parts_are_found_by_name() {
    let one = |name: &str, value: f32| file(&[(name, "F32", &[1], floats(&[value]))]);
    let index = |map: serde_json::Value| serde_json::to_vec(&serde_json::json!({"weight_map": map})).unwrap();
    let (_keep, files) = folder(&[("m.fp16.safetensors", one("a", 1.0))]);
    assert!(files.weights("m.safetensors").unwrap().has("a"));
    assert_eq!(all_found(&files, "m.safetensors"), ["m.fp16.safetensors"]);
    // Worse ones first: each is preferred to those before it.
    let (keep, files) = folder(&[]);
    for name in [
        "m.fp32.safetensors.index.json",
        "m.safetensors.index.bf16.json",
        "m.safetensors.index.fp16.json",
        "m.safetensors.index.json",
        "m.fp32.safetensors",
        "m.bf16.safetensors",
        "m.fp16.safetensors",
        "m.safetensors",
    ] {
        std::fs::write(keep.path().join(name), b"{}").unwrap();
        assert_eq!(found(&files, "m.safetensors").as_deref(), Some(name));
    }
    let both = serde_json::json!({"a": "m-1.safetensors", "b": "m-2.safetensors"});
    let shards = [("m-1.safetensors", one("a", 1.0)), ("m-2.safetensors", one("b", f32::NAN))];
    let (_keep, files) = folder(&[&shards[..], &[("m.safetensors.index.json", index(both.clone()))]].concat());
    let weights = files.weights("m.safetensors").unwrap();
    let all = ["m.safetensors.index.json", "m-1.safetensors", "m-2.safetensors"];
    assert_eq!(all_found(&files, "m.safetensors"), all);
    assert_eq!(read(&weights, Place::plain("a"), &[]).unwrap(), [1.0]);
    refused(read(&weights, Place::plain("b"), &[]), &["m-2.safetensors", "NaN"]);
    refused(read(&weights, Place::plain("c"), &[]), &["m.safetensors.index.json", "no tensor"]);
    let open = |shards: &[(&str, Vec<u8>)], index: Vec<u8>| {
        let (_keep, files) = folder(&[shards, &[("m.safetensors.index.json", index)]].concat());
        files.weights("m.safetensors")
    };
    refused(open(&shards[..1], index(both)), &["no file", "m-2.safetensors"]);
    refused(open(&shards, index(serde_json::json!({"c": "m-1.safetensors"}))), &["index.json", "\"c\""]);
    for elsewhere in ["../m-1.safetensors", "/etc/passwd", "m-1.bin", "C:m.safetensors"] {
        refused(open(&shards, index(serde_json::json!({"a": elsewhere}))), &["index.json", "this folder"]);
    }
    refused(open(&shards, b"{}".to_vec()), &["index.json", "weight_map"]);
    refused(open(&[], Vec::new()), &["index.json"]);
}

#[test]
fn an_unusable_file_is_named_with_what_to_do() {
    let open = |name: &str, bytes: &[u8]| {
        let (_keep, files) = folder(&[(name, bytes.to_vec())]);
        files.weights("w.safetensors")
    };
    refused(open("w.safetensors", b""), &["w.safetensors", "download it again"]);
    refused(open("w.safetensors", &[0xff; 64]), &["w.safetensors", "not a safetensors file"]);
    let (_keep, files) = folder(&[("pytorch_model.bin", b"pickle".to_vec())]);
    refused(files.weights("model.safetensors"), &["pytorch_model.bin", "pickled", "convert"]);
    refused(open("other", b""), &["no file", "w.safetensors"]);
}
