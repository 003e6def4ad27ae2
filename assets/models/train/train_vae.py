"""Trains the KL autoencoder (diffusers' AutoencoderKL, f8, 4 latent channels). `--decoder-only` freezes the encoder,
so that the denoiser's latents stay what they are."""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from training import Training
from world import World, work_folder

CROP = 64


def new_model() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 48, 96, 128), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=128,
        mid_block_add_attention=False,
    )


def as_tensor(pixels):
    """Pictures (b, h, w, 3) of bytes as (b, 3, h, w) in -1..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def crops(world, r, batch):
    """A batch of random crops of scenes, (batch, 3, CROP, CROP) in -1..1; crops of plain background are made rarer."""
    out = []
    while len(out) < batch:
        pixels = np.asarray(world.scene(r).picture)
        for _ in range(3):
            y, x = r.randint(0, (128 - CROP) // 4) * 4, r.randint(0, (128 - CROP) // 4) * 4
            crop = pixels[y : y + CROP, x : x + CROP]
            if crop.std() > 20 or r.random() < 0.1:
                break
        out.append(crop)
    return as_tensor(np.stack(out))


def loss_of(y, x):
    """Squared and absolute difference of pixels, and absolute difference of their gradients at two scales."""
    total = 0.5 * (y - x).abs().mean() + 2 * F.mse_loss(y, x)
    for scale in (1, 2):
        a, b = (y, x) if scale == 1 else (F.avg_pool2d(y, 2), F.avg_pool2d(x, 2))
        for axis in (2, 3):
            total = total + 0.25 * (a.diff(dim=axis) - b.diff(dim=axis)).abs().mean()
    return total


@torch.no_grad()
def evaluate(vae, work, count=64):
    """Mean PSNR in dB of whole scenes that training does not see, and the standard deviation of their latents."""
    world, r = World(work, 128, "all"), random.Random(10**9)
    x = as_tensor(np.stack([np.asarray(world.scene(r).picture) for _ in range(count)]))
    z = vae.encode(x).latent_dist.mean
    errors = (vae.decode(z).sample.clamp(-1, 1) - x).square().mean((1, 2, 3)) / 4
    return -10 * errors.log10().mean().item(), z.std().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cooldown", type=float, default=0.3)
    parser.add_argument("--decoder-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    world, folder = World(args.work, 128), args.work / "autoencoder"
    vae = new_model().to(memory_format=torch.channels_last)
    if args.decoder_only:
        vae.load_state_dict(AutoencoderKL.from_pretrained(folder / "vae").state_dict())
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        folder = args.work / "decoder"
    training = Training(folder, {"vae": vae}, args.rate, args.minutes)
    r = random.Random(5 + training.step)
    print(sum(p.numel() for p in vae.parameters()) / 1e6, "million parameters; step", training.step, flush=True)
    while training.progress < 1:
        x = crops(world, r, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            # A little noise teaches the decoder to bear the denoiser's small errors.
            y = vae.decode(posterior.mean + 0.03 * torch.randn_like(posterior.mean)).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        loss = loss_of(y, x)
        training.update(loss + 3e-4 * kl, args.batch, args.cooldown)
        if training.step % 100 == 0:
            error = (y - x).square().mean().item() / 4
            print(training.step, f"{training.progress * args.minutes:.1f} min, loss {loss.item():.4f}, {-10 * np.log10(error):.1f} dB, std {mean.std().item():.2f}", flush=True)
        if training.step % 1000 == 0:
            print("held out: dB, std of latents", evaluate(training.average["vae"], args.work), flush=True)
    psnr, std = evaluate(training.average["vae"], args.work, 128)
    if not args.decoder_only:
        training.average["vae"].register_to_config(scaling_factor=1 / std)
    print("held out: dB, std of latents", psnr, std)
    training.save()


if __name__ == "__main__":
    main()
