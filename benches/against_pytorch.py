"""Times Maquette against PyTorch and candle-transformers in one run: random weights of full size, the same threads, processor seconds.

    python -m venv venv && venv/bin/pip install torch diffusers transformers
    cargo build --release
    venv/bin/python benches/against_pytorch.py [--threads 1] [--folder FOLDER] [--without-candle]

Makes a Stable Diffusion 1.5 and a CLIP ViT-B/32 of random numbers (kept in FOLDER, if that is given), times every part in all three
and prints a table. The fastest run of each part counts. The peak of memory is that of a process that makes one whole 512x512 picture in a few steps with guidance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "target/release/maquette"
STEPS = 2
PARTS = ("text_encode", "image_encode", "denoise_step", "decode")


def make_models(folder):
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    words = Path(__file__).parent.parent / "assets/models/clip"
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77)
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=768, attention_head_dim=8
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    ))
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, steps_offset=1)
    pipeline = StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=text, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "sd15")
    clip = CLIPModel(CLIPConfig(text_config={"eos_token_id": tokenizer.eos_token_id}))
    clip.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")


def processor_seconds(run, repeats):
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def reference(folder, threads):
    """Of PyTorch: processor seconds of each part."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    clip = CLIPModel.from_pretrained(folder / "clip")
    ids = CLIPTokenizer.from_pretrained(folder / "clip")(
        ["a red apple on a blue background"], padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    pixels = torch.randn(1, 3, 224, 224)
    seconds = {
        "text_encode": processor_seconds(lambda: clip.get_text_features(input_ids=ids), 5),
        "image_encode": processor_seconds(lambda: clip.get_image_features(pixel_values=pixels), 5),
    }
    del clip
    unet = UNet2DConditionModel.from_pretrained(folder / "sd15/unet")
    latents, states = torch.randn(2, 4, 64, 64), torch.randn(2, 77, 768)
    seconds["denoise_step"] = processor_seconds(lambda: unet(latents, 500, states), 1)
    del unet
    vae = AutoencoderKL.from_pretrained(folder / "sd15/vae")
    seconds["decode"] = processor_seconds(lambda: vae.decode(latents[:1]), 1)
    return seconds


def reference_picture(folder, threads):
    import torch
    from diffusers import StableDiffusionPipeline

    torch.set_num_threads(threads)
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "sd15", safety_checker=None)
    pipeline("a red apple", num_inference_steps=STEPS, guidance_scale=5.0)


def candle(folder, threads):
    """Of candle-transformers: processor seconds of each part."""
    threads = {"RAYON_NUM_THREADS": str(threads), "CANDLE_NUM_THREADS": str(threads)}
    command = ["cargo", "bench", "--bench", "candle", "--", str(folder.resolve())]
    root = Path(__file__).parent.parent
    lines = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, env=os.environ | threads).stdout
    parts = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return {part["part"]: part["cpu_seconds"] for part in parts}


def maquette(command, threads):
    return subprocess.run([PROGRAM, *command, "--threads", str(threads)], check=True, capture_output=True, text=True).stdout


def peak_of(command):
    """The largest resident memory of a command, in MB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    return usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the models are, or are to be kept")
    parser.add_argument("--without-candle", action="store_true", help="leave the column of candle-transformers empty")
    parser.add_argument("--picture", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.picture:
        return reference_picture(args.folder, args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "sd15").exists():
            make_models(folder)
        ours = {}
        for model in ("clip", "sd15"):
            report = json.loads(maquette(["bench", "--model", str(folder / model), "--json"], args.threads))
            for part in PARTS:
                if report.get(part):
                    ours.setdefault(part, report[part]["cpu_seconds"])
        theirs = reference(folder, args.threads)
        others = {} if args.without_candle else candle(folder, args.threads)
        print("| part | Maquette | PyTorch | candle-transformers | Maquette / PyTorch |\n|---|---|---|---|---|")
        for part in PARTS:
            third = f"{others[part]:.3f}" if part in others else ""
            ratio = ours[part] / theirs[part]
            print(f"| {part.replace('_', ' ')}, CPU seconds | {ours[part]:.3f} | {theirs[part]:.3f} | {third} | {ratio:.2f} |")
        own = [str(PROGRAM), "generate", "--model", str(folder / "sd15"), "--prompt", "a red apple", "--steps", str(STEPS)]
        own += ["--size", "512x512", "--seed", "1", "--threads", str(args.threads), "--out", str(Path(temporary) / "picture.png")]
        other = [sys.executable, __file__, "--picture", "--folder", str(folder), "--threads", str(args.threads)]
        memory = peak_of(own), peak_of(other)
        print(f"| a 512x512 picture, peak memory in MB | {memory[0]:.0f} | {memory[1]:.0f} | | {memory[0] / memory[1]:.2f} |")


if __name__ == "__main__":
    main()
