"""Trains the KL autoencoder (diffusers' AutoencoderKL, f8, 4 latent channels). `--decoder-only` freezes the encoder."""

import argparse
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from world import World, work_folder

CROP = 64


def new_model() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 96, 128), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=128,
        mid_block_add_attention=False,
    )


def crops(world, r, batch):
    """A batch of random crops of scenes, (batch, 3, CROP, CROP) in -1..1; crops of plain background are made rarer."""
    out = []
    while len(out) < batch:
        pixels = np.asarray(world.scene(r)[0])
        for _ in range(3):
            y, x = r.randint(0, (128 - CROP) // 8) * 8, r.randint(0, (128 - CROP) // 8) * 8
            crop = pixels[y : y + CROP, x : x + CROP]
            if crop.std() > 20 or r.random() < 0.1:
                break
        out.append(crop)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def loss_of(y, x):
    """Absolute difference of pixels and of their gradients at two scales."""
    total = (y - x).abs().mean() + 0.5 * F.mse_loss(y, x)
    for scale in (1, 2):
        a, b = (y, x) if scale == 1 else (F.avg_pool2d(y, 2), F.avg_pool2d(x, 2))
        for axis in (2, 3):
            total = total + 0.5 * (a.diff(dim=axis) - b.diff(dim=axis)).abs().mean()
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=9e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--decoder-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    world, r = World(args.work, 128), random.Random(time.time_ns() if args.decoder_only else 5)
    folder = args.work / "vae"
    vae = AutoencoderKL.from_pretrained(folder) if (folder / "config.json").exists() else new_model()
    vae = vae.to(memory_format=torch.channels_last)
    print(sum(p.numel() for p in vae.parameters()) / 1e6, "million parameters", flush=True)
    if args.decoder_only:
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in vae.parameters() if p.requires_grad], lr=args.rate, weight_decay=1e-4, betas=(0.9, 0.98))
    start, saved, step = time.time(), time.time(), 0
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 150) * (0.5 * (1 + np.cos(np.pi * done)) * 0.95 + 0.05)
        x = crops(world, r, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(not args.decoder_only):
                posterior = vae.encode(x).latent_dist
            # A little noise teaches the decoder to bear the denoiser's small errors.
            z = posterior.mean + 0.05 * torch.randn_like(posterior.mean)
            y = vae.decode(z).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        loss = loss_of(y, x) + (0 if args.decoder_only else 1e-3 * kl)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(step, f"{time.time() - start:.0f} s, L1 {(y - x).abs().mean().item():.4f}, loss {loss.item():.4f}, std {mean.std().item():.2f}", flush=True)
        if time.time() - saved > 300:
            vae.save_pretrained(folder)
            saved = time.time()
    if not args.decoder_only:
        vae.eval()
        with torch.no_grad():
            whole = torch.stack([torch.from_numpy(np.array(world.scene(r)[0])).permute(2, 0, 1) for _ in range(128)]).float().div(127.5).sub(1)
            std = vae.encode(whole).latent_dist.mean.std().item()
        vae.register_to_config(scaling_factor=1 / std)
        print("scaling factor", 1 / std)
    vae.save_pretrained(folder)


if __name__ == "__main__":
    main()
