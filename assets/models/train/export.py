"""Writes the shipped folders from the work folder: clip/, diffusion/, judge/ (f16 safetensors) and the sample pictures."""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTextModel

from train_clip import MEAN, STD
from train_unet import SCHEDULER, SHIPPED
from world import COLOURS, HERE, World, work_folder

# File, background, and things as (name, style, centre x, centre y, size), in pixels of 512.
SAMPLES = [
    ("apple-and-cat.png", "teal", [("apple", "flat", 140, 170, 210), ("cat", "cartoon", 370, 340, 230)]),
    ("meadow.png", "_meadow", [("tree", "flat", 120, 300, 220), ("house", "flat", 380, 320, 200), ("helicopter", "flat", 280, 110, 150)]),
    ("fruit.png", "purple", [("banana", "flat", 130, 140, 190), ("donut", "flat", 380, 140, 180), ("pear", "flat", 140, 380, 190), ("carrot", "cartoon", 380, 380, 190)]),
]


def tensors_of(model):
    return {name: tensor.half().contiguous() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def replace(folder: Path, fill):
    """Fills a temporary folder, then puts it in the place of `folder`."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    fill(temporary)
    temporary.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def fill_clip(work: Path, folder: Path):
    model = CLIPModel.from_pretrained(work / "similarity/clip")
    model.save_pretrained(folder)
    save_file(tensors_of(model), folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "dtype": "float16", "maquette": {"dense": True}})
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 128, "width": 128}, "size": {"shortest_edge": 128},
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
        "rescale_factor": 1 / 255, "image_mean": MEAN.flatten().tolist(), "image_std": STD.flatten().tolist(),
    }
    write_json(folder / "preprocessor_config.json", preprocessor)
    shutil.copytree(work / "tokenizer", folder, dirs_exist_ok=True)


def fill_diffusion(work: Path, folder: Path):
    # What was not trained in this work folder is the shipped model's, as the denoiser's training has it.
    newest = lambda *folders: next(folder for folder in folders if folder.exists())
    vae = newest(work / "decoder/vae", work / "autoencoder/vae", SHIPPED / "vae")
    for name, kind, source in (("unet", UNet2DConditionModel, work / "denoiser/unet"), ("vae", AutoencoderKL, vae)):
        model = kind.from_pretrained(source)
        model.save_pretrained(folder / name)
        save_file(tensors_of(model), folder / name / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / name / "config.json").read_text())
        write_json(folder / name / "config.json", {k: v for k, v in config.items() if k != "_name_or_path"})
    text = CLIPTextModel.from_pretrained(newest(work / "denoiser/text_encoder", SHIPPED / "text_encoder"))
    text.save_pretrained(folder / "text_encoder")
    save_file(tensors_of(text), folder / "text_encoder/model.safetensors", metadata={"format": "pt"})
    shutil.copytree(work / "tokenizer", folder / "tokenizer")
    (folder / "scheduler").mkdir()
    scheduler = {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.37.0", **SCHEDULER}
    write_json(folder / "scheduler/scheduler_config.json", scheduler)
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    none = [None, None]
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.37.0", **parts, "safety_checker": none, "feature_extractor": none, "image_encoder": none, "requires_safety_checker": False})


def fill_judge(work: Path, folder: Path):
    save_file({name: tensor.half() for name, tensor in load_file(work / "judge/judge/model.safetensors").items()}, folder / "model.safetensors")
    shutil.copy(work / "judge/judge/config.json", folder / "config.json")


def write_samples(work: Path, folder: Path):
    images = np.load(work / "sprites-large.npz")["images"]
    index = [tuple(entry) for entry in json.loads((work / "sprites-large.json").read_text())]
    world, record = World(work, 512), {}
    folder.mkdir(exist_ok=True)
    for file, background, things in SAMPLES:
        picture = getattr(world, background)(random.Random(1)) if background.startswith("_") else Image.new("RGB", (512, 512), COLOURS[background])
        record[file] = []
        for name, style, cx, cy, size in things:
            sprite = Image.fromarray(images[index.index((name, style))]).resize((size, size), Image.LANCZOS)
            x, y = cx - size // 2, cy - size // 2
            picture.paste(sprite, (x, y), sprite)
            record[file].append({"thing": name, "box": [x, y, x + size, y + size]})
        picture.save(folder / file, optimize=True)
    write_json(folder / "samples.json", record)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--parts", nargs="*", default=["clip", "diffusion", "judge", "samples"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if "clip" in args.parts:
        replace(HERE.parent / "clip", lambda folder: fill_clip(args.work, folder))
    if "diffusion" in args.parts:
        replace(HERE.parent / "diffusion", lambda folder: fill_diffusion(args.work, folder))
    if "judge" in args.parts:
        replace(HERE.parent / "judge", lambda folder: fill_judge(args.work, folder))
    if "samples" in args.parts:
        write_samples(args.work, HERE.parents[1] / "samples")


if __name__ == "__main__":
    main()
