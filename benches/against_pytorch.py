"""Times Maquette against PyTorch and candle-transformers in one run: random weights of full size, the same threads, processor seconds.

    python -m venv venv && venv/bin/pip install torch diffusers transformers
    cargo build --release
    venv/bin/python benches/against_pytorch.py [--threads 1] [--folder FOLDER] [--without-candle] [--without-bf16]

Makes a Stable Diffusion 1.5 and a CLIP ViT-B/32 of random numbers (kept in FOLDER, if that is given), times every part in all three
and prints tables: in 32 bits, the peak of memory, and in bf16 with the relative root mean square error from 32 bits. The fastest run of each part counts. The peak of memory is that of a process that makes one whole 512x512 picture in a few steps with guidance.
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


def timed(run, repeats):
    """Processor seconds of the fastest run, and what it gave."""
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        output = run()
        best = min(best, time.process_time() - start)
    return best, output


def reference(folder, threads, dtype):
    """Of PyTorch: processor seconds and output of each part."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    clip = CLIPModel.from_pretrained(folder / "clip").to(dtype)
    ids = CLIPTokenizer.from_pretrained(folder / "clip")(
        ["a red apple on a blue background"], padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    pixels, latents, states = (torch.randn(*shape).to(dtype) for shape in ((1, 3, 224, 224), (2, 4, 64, 64), (2, 77, 768)))
    pooled = lambda output: getattr(output, "pooler_output", output)
    parts = {
        "text_encode": timed(lambda: pooled(clip.get_text_features(input_ids=ids)), 5),
        "image_encode": timed(lambda: pooled(clip.get_image_features(pixel_values=pixels)), 5),
    }
    del clip
    unet = UNet2DConditionModel.from_pretrained(folder / "sd15/unet").to(dtype)
    parts["denoise_step"] = timed(lambda: unet(latents, 500, states).sample, 1)
    del unet
    vae = AutoencoderKL.from_pretrained(folder / "sd15/vae").to(dtype)
    parts["decode"] = timed(lambda: vae.decode(latents[:1]).sample, 1)
    return parts


def ours(folder, threads, precision):
    """Of Maquette: for each part its report."""
    found = {}
    for model in ("clip", "sd15"):
        command = ["--precision", precision, "bench", "--model", str(folder / model), "--json"]
        report = json.loads(maquette(command, threads))
        found |= {part: report[part] for part in PARTS if report.get(part) and part not in found}
    return found


def in_single_precision(folder, threads, with_candle):
    import torch

    own, theirs = ours(folder, threads, "f32"), reference(folder, threads, torch.float32)
    others = candle(folder, threads) if with_candle else {}
    print("| part, CPU seconds | Maquette | PyTorch | candle-transformers | Maquette / PyTorch |\n|---|---|---|---|---|")
    for part in PARTS:
        first, second = own[part]["cpu_seconds"], theirs[part][0]
        third = f"{others[part]:.3f}" if part in others else ""
        print(f"| {part.replace('_', ' ')} | {first:.3f} | {second:.3f} | {third} | {first / second:.2f} |", flush=True)
    return theirs


def in_bf16(folder, threads, exact):
    import torch

    own, theirs = ours(folder, threads, "bf16"), reference(folder, threads, torch.bfloat16)
    print("\n| part in bf16, CPU seconds | Maquette | PyTorch | Maquette / PyTorch | error of Maquette | of PyTorch |\n|---|---|---|---|---|---|")
    for part in PARTS:
        first, (second, output) = own[part]["cpu_seconds"], theirs[part]
        error = ((output.float() - exact[part][1]).norm() / exact[part][1].norm()).item()
        print(
            f"| {part.replace('_', ' ')} | {first:.3f} | {second:.3f} | {first / second:.2f} | {own[part]['relative_error']:.1e} | {error:.1e} |",
            flush=True,
        )


def memory(folder, threads):
    with tempfile.TemporaryDirectory() as temporary:
        own = [str(PROGRAM), "generate", "--model", str(folder / "sd15"), "--prompt", "a red apple", "--steps", str(STEPS)]
        own += ["--size", "512x512", "--seed", "1", "--threads", str(threads), "--out", str(Path(temporary) / "picture.png")]
        other = [sys.executable, __file__, "--picture", "--folder", str(folder), "--threads", str(threads)]
        first, second = peak_of(own), peak_of(other)
    print("\n| MB | Maquette | diffusers | ratio |\n|---|---|---|---|")
    print(f"| peak of a 512x512 picture in 32 bits | {first:.0f} | {second:.0f} | {first / second:.2f} |", flush=True)


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


# Counts in a small process of its own: a process begins with the peak of the one that started it.
PEAK = """
import os, subprocess, sys
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss / 1000)
sys.exit(process.returncode)
"""


def peak_of(command):
    """The largest resident memory of a command, in MB."""
    return float(subprocess.run([sys.executable, "-c", PEAK, *command], check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the models are, or are to be kept")
    parser.add_argument("--without-candle", action="store_true", help="leave the column of candle-transformers empty")
    parser.add_argument("--without-bf16", action="store_true", help="leave out what needs a processor with AVX-512 BF16")
    parser.add_argument("--picture", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.picture:
        return reference_picture(args.folder, args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "sd15").exists():
            make_models(folder)
        exact = in_single_precision(folder, args.threads, not args.without_candle)
        memory(folder, args.threads)
        if not args.without_bf16:
            in_bf16(folder, args.threads, exact)


if __name__ == "__main__":
    main()
