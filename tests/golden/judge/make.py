"""Makes the fixture of tests/golden_quality.rs for the judge: a tiny one with random weights, and its logits by PyTorch.

    pip install torch diffusers transformers safetensors numpy pillow resvg-py
    python tests/golden/judge/make.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "assets/models/train"))

import train_judge  # noqa: E402
from train_vae import as_tensor  # noqa: E402


def main():
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    heads = {"thing": ["apple", "cat", ""], "style": ["flat", "sticker"], "background": ["red", "sea"], "effect": ["foggy", ""]}
    train_judge.HEADS, train_judge.SIZES = heads, [len(names) for names in heads.values()]
    train_judge.CONFIG.update(block_out_channels=(8, 16, 8), norm_num_groups=4)
    judge = train_judge.Judge().eval()
    for name, p in sorted(judge.named_parameters()):
        noise = torch.randn(p.shape)
        flat = (1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.2 * noise
        p.copy_((flat if p.ndim == 1 else noise / p[0].numel() ** 0.5).half().float())
    judge.save_pretrained(HERE)
    weights = load_file(HERE / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, HERE / "model.safetensors")
    # Wider than high, so that rows and columns cannot be exchanged unnoticed.
    rows = np.arange(32)[:, None, None] * np.array([3, 5, 1]) + np.arange(64)[None, :, None] * np.array([2, 1, 4])
    pixels = ((rows * 7 + np.random.default_rng(0).integers(0, 60, rows.shape)) % 256).astype(np.uint8)
    Image.fromarray(pixels).save(HERE / "picture.png")
    cells, rest = judge(as_tensor(pixels[None]))
    expected = {"cells": cells[0].flatten(1).T, **{name: logits[0] for name, logits in zip(list(heads)[1:], rest)}}
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
