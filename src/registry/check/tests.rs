//! Models that lie whole in their folders and yet cannot run, and files of autoencoders.
#![allow(clippy::unwrap_used)]

use super::*;

/// A copy of the folder `name` of the golden models.
fn copied(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &target);
            } else {
                std::fs::copy(&path, target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name), folder.path());
    folder
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Replaces `from` by as many bytes in the header of a file of weights.
fn replace_in_header(path: &Path, from: &str, to: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[place..place + from.len()].copy_from_slice(format!("{to:<0$}", from.len()).as_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// A safetensors file of zeros of these shapes.
fn zeros(path: &Path, tensors: &[(&str, &[usize])]) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &vec![0; end]].concat()).unwrap();
}

fn problems(path: &Path) -> Vec<String> {
    check(path, &Catalogue::default()).problems
}

/// `name` is fine, and no longer so after `change`.
fn spoiled(name: &str, parts: &[&str], change: impl Fn(&Path)) {
    let folder = copied(name);
    let before = check(folder.path(), &Catalogue::default());
    assert!(before.is_usable(), "{before:?}");
    change(folder.path());
    let problems = problems(folder.path());
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in parts {
        assert!(problems[0].contains(part), "{part:?} is not in {problems:?}");
    }
}

const NET: &str = "diffusion_pytorch_model.safetensors";

#[test]
fn whole_models_are_fine() {
    for name in ["diffusion/sd1", "nets/control", "nets/tiny", "clip/quick", "clip/erf", "clip_family/hf_sharded"]
        .into_iter()
        .chain([
            "clip_family/open_clip_plain",
            "clip_family/open_clip_custom",
            "clip_family/siglip",
            "clip_family/siglip2",
        ])
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        assert_eq!(problems(&path), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn settings_that_no_net_has_are_found() {
    spoiled("diffusion/sd1", &["unet", "config.json", "act_fn", "gelu"], |folder| {
        replace(&folder.join("unet/config.json"), "\"silu\"", "\"gelu\"");
    });
    spoiled("diffusion/sd1", &["unet", "config.json", "8 channels", "3 attention heads"], |folder| {
        replace(&folder.join("unet/config.json"), "\"attention_head_dim\": 2", "\"attention_head_dim\": 3");
    });
    spoiled("diffusion/sd1", &["vae", "config.json", "\"layers_per_block\"", "whole number"], |folder| {
        replace(&folder.join("vae/config.json"), "\"layers_per_block\": 1", "\"layers_per_block\": \"one\"");
    });
    spoiled("diffusion/sd1", &["text_encoder", "config.json", "JSON object"], |folder| {
        std::fs::write(folder.join("text_encoder/config.json"), "[]").unwrap();
    });
    spoiled("diffusion/sd1", &["scheduler_config.json", "StrangeScheduler"], |folder| {
        std::fs::write(folder.join("scheduler/scheduler_config.json"), r#"{"_class_name": "StrangeScheduler"}"#)
            .unwrap();
    });
    spoiled("clip/quick", &["preprocessor_config.json", "\"size\"", "shortest_edge"], |folder| {
        std::fs::write(folder.join("preprocessor_config.json"), r#"{"size": "small"}"#).unwrap();
    });
    spoiled("clip_family/open_clip_plain", &["open_clip_config.json", "pool_type", "avg"], |folder| {
        replace(&folder.join("open_clip_config.json"), "\"layers\": 2,", "\"layers\": 2, \"pool_type\": \"avg\",");
    });
}

#[test]
fn tensors_that_are_missing_or_of_another_shape_are_found() {
    for (name, file, tensor) in [
        ("diffusion/sd1", format!("unet/{NET}"), "conv_out.weight"),
        ("diffusion/sd1", format!("vae/{NET}"), "encoder.conv_out.bias"),
        ("diffusion/sd1", format!("vae/{NET}"), "decoder.conv_in.weight"),
        ("diffusion/sd1", "text_encoder/model.safetensors".to_owned(), "final_layer_norm.bias"),
        ("nets/control", NET.to_owned(), "controlnet_mid_block.bias"),
        ("nets/tiny", NET.to_owned(), "decoder.layers.0.weight"),
        ("clip/quick", "model.safetensors".to_owned(), "visual_projection.weight"),
    ] {
        spoiled(name, &[&file, "no tensor", tensor], |folder| {
            replace_in_header(&folder.join(&file), tensor, &format!("X{}", &tensor[1..]));
        });
    }
    spoiled("diffusion/sd1", &["unet", NET, "expected", "does not fit"], |folder| {
        replace(&folder.join("unet/config.json"), "\"cross_attention_dim\": 16", "\"cross_attention_dim\": 24");
    });
}

#[test]
fn what_lies_in_place_of_weights_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167540\n";
    for (text, part) in [(pointer, "git lfs pull"), ("<!DOCTYPE html>\n<html></html>", "web page")] {
        spoiled("diffusion/sd1", &[NET, part], |folder| std::fs::write(folder.join("unet").join(NET), text).unwrap());
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.safetensors", "x.ckpt"] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert!(problems(&path)[0].contains(part), "{:?}", problems(&path));
        }
    }
}

#[test]
fn autoencoders_in_single_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sorts =
        || -> Vec<(String, Sort)> { scan::scan(folder.path()).into_iter().map(|one| (one.name, one.sort)).collect() };
    let decoder: [(&str, &[usize]); 3] =
        [("1.weight", &[8, 4, 3, 3]), ("3.conv.0.weight", &[8, 8, 3, 3]), ("5.weight", &[3, 8, 3, 3])];
    zeros(&path("taesd_decoder.safetensors"), &decoder);
    zeros(&path("taesd_encoder.safetensors"), &[("0.weight", &[8, 3, 3, 3]), ("1.conv.0.weight", &[8, 8, 3, 3])]);
    assert_eq!(sorts(), [("taesd_decoder".to_owned(), Sort::Vae)]);
    let report = check(&path("taesd_decoder.safetensors"), &Catalogue::default());
    assert_eq!(report.sort, Sort::Vae);
    assert!(report.problems.iter().any(|problem| problem.contains("no tensor")), "{report:?}");
    assert!(problems(&path("taesd_encoder.safetensors"))[0].contains("decoder"));
    std::fs::remove_file(path("taesd_decoder.safetensors")).unwrap();
    assert_eq!(sorts(), [("taesd_encoder".to_owned(), Sort::Unusable)]);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let list = std::fs::read_to_string(root.join("checkpoint/sd1.txt")).unwrap();
    let shapes: Vec<(&str, Vec<usize>)> = list
        .lines()
        .filter_map(|line| line.strip_prefix("first_stage_model.")?.split_once(' '))
        .map(|(name, rest)| {
            (name, rest.split(' ').next().unwrap().split(',').map(|side| side.parse().unwrap()).collect())
        })
        .collect();
    let tensors: Vec<(&str, &[usize])> = shapes.iter().map(|(name, shape)| (*name, &shape[..])).collect();
    let copy = path("large.safetensors");
    zeros(&copy, &tensors);
    let report = check(&copy, &Catalogue::default());
    assert_eq!((report.sort, report.is_usable()), (Sort::Vae, true), "{report:?}");
    replace_in_header(&copy, "decoder.conv_out.bias", "decoder.conv_ouT.bias");
    assert!(problems(&copy)[0].contains("decoder.conv_out.bias"), "{:?}", problems(&copy));
    let control = root.join("nets/control").join(NET);
    assert!(
        check(&control, &Catalogue::default()).missing[0].contains("config.json"),
        "only folders of ControlNets are used"
    );
}

#[test]
fn one_model_is_not_several() {
    let folder = copied("clip");
    assert!(problems(folder.path())[0].contains("holds 2 models;"), "{:?}", problems(folder.path()));
    std::fs::remove_dir_all(folder.path().join("erf")).unwrap();
    std::fs::remove_file(folder.path().join("expected.safetensors")).unwrap();
    assert!(problems(folder.path())[0].contains("holds 1 model;"), "{:?}", problems(folder.path()));
}

#[test]
fn settings_that_are_not_understood_are_a_problem_of_their_own() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (text, part) in [(deep.as_str(), "recursion limit"), ("null", "JSON object"), ("", "not valid JSON")] {
        let folder = copied("clip/quick");
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let problems = problems(folder.path());
        assert!(problems[0].contains("config.json") && problems[0].contains(part), "{problems:?}");
    }
    spoiled("diffusion/sd1", &["model_index.json", "JSON object"], |folder| {
        std::fs::write(folder.join("model_index.json"), "[1]").unwrap();
    });
    spoiled("clip/quick", &["config.json", "num_hidden_layers", "-1"], |folder| {
        replace(&folder.join("config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": -1");
    });
    spoiled("clip/quick", &["model.safetensors", "1000000000000", "does not fit"], |folder| {
        replace(&folder.join("config.json"), "\"hidden_size\": 32", "\"hidden_size\": 1000000000000");
    });
}

#[test]
fn tokenizers_are_read() {
    for (file, text) in [
        ("tokenizer.json", r#"{"version": "1.0", "model": {"type": "BPE", "merges": []}}"#),
        ("vocab.json", r#"{"a": -1}"#),
        ("vocab.json", "[]"),
        ("merges.txt", "only\n"),
    ] {
        spoiled("clip/quick", &[file], |folder| std::fs::write(folder.join(file), text).unwrap());
    }
    let folder = copied("clip/quick");
    std::fs::write(folder.path().join("merges.txt"), format!("a {}", "b".repeat(1 << 20))).unwrap();
    let problems = problems(folder.path());
    assert!(problems.len() == 1 && problems[0].len() < 1000, "a message is to be read");
    spoiled("diffusion/sd1", &["tokenizer", "vocab.json"], |folder| {
        std::fs::write(folder.join("tokenizer/vocab.json"), "{").unwrap();
    });
}

#[test]
fn small_files_are_read_and_numbers_that_nobody_reads_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let write = |name: &str, dtype: &str, columns: usize, number: [u8; 4]| {
        let header =
            serde_json::json!({name: {"dtype": dtype, "shape": [1, columns], "data_offsets": [0, 4]}}).to_string();
        std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &number].concat()).unwrap();
    };
    for (name, dtype, columns, number, part) in [
        ("emb_params", "F32", 1, f32::NAN.to_le_bytes(), "not finite"),
        ("emb_params", "BOOL", 4, [1; 4], "stored as BOOL"),
        ("lora_unet_x.lora_down.weight", "I32", 1, [0; 4], "stored as I32"),
    ] {
        write(name, dtype, columns, number);
        let problems = problems(&path);
        assert!(problems.len() == 1 && problems[0].contains(part), "{problems:?}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_neither_file_nor_folder_is_never_read() {
    let folder = copied("clip/quick");
    // It has no end.
    let zero = |name: &str| {
        let path = folder.path().join(name);
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        path
    };
    let alone = check(&zero("x.safetensors"), &Catalogue::default());
    assert_eq!((alone.what.as_str(), alone.is_usable()), ("neither a file nor a folder", false));
    for word in ["x.safetensors", "x.pt", "x.png"] {
        let error = crate::registry::embedding_use(&zero(word)).unwrap_err().0;
        assert!(error.contains("a pipe or a device") && error.contains(word), "{error}");
        assert!(crate::registry::lora_use(&zero(word), 1.0, 1.0).is_err());
    }
    for file in ["model.safetensors", "config.json", "merges.txt"] {
        zero(file);
        assert!(!check(folder.path(), &Catalogue::default()).is_usable(), "{file}");
    }
}
