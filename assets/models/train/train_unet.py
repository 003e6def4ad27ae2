"""Trains the denoising net on cached latents and states of the text encoder: v-prediction, moving average.

The text encoder is the CLIP's text tower as it was when training began; it stays as it is. The cache is refilled with new
scenes piece by piece, so that no scene is seen too often.
"""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from train_vae import as_tensor
from training import Training
from world import HERE, World, work_folder

SCHEDULER = dict(
    num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.014, prediction_type="v_prediction",
    clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing",
)
SHIPPED = HERE.parent / "diffusion"
# The loss counts this much more where a thing is: plain backgrounds are learnt soon, shapes are not.
THING_WEIGHT = 4.0
# Most scenes have their things in nearly the same places: then shapes are learnt much sooner. The rest vary in full, so that
# a thing can be painted wherever a mask is.
CALM, CALM_SHARE = 0.25, 0.8


def new_model():
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 128, 256), layers_per_block=1, cross_attention_dim=192,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=(1, 2, 4), norm_num_groups=16, use_linear_projection=True,
    )
    # On processors the plain attention is much faster backwards than the fused one.
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def goes_on_from_shipped(work):
    """Without an autoencoder of its own the work folder goes on with the shipped model: all its parts belong together."""
    return not (work / "autoencoder/vae").exists()


def text_encoder(work):
    """The text encoder that the denoiser learns from: that of the checkpoint, else the CLIP's text tower, which is kept beside it."""
    folder = work / "denoiser/text_encoder"
    if goes_on_from_shipped(work):
        folder = SHIPPED / "text_encoder"
    if not folder.exists():
        clip = work / "similarity/clip"
        CLIPTextModel.from_pretrained(clip if clip.exists() else HERE.parent / "clip").float().save_pretrained(folder)
    text = CLIPTextModel.from_pretrained(folder).float().requires_grad_(False)
    text.set_attn_implementation("eager")
    return text


class Cache:
    """The newest scenes: scaled latents (n, 4, 16, 16), weights of their places (n, 1, 16, 16), text states (n, 77, 192)."""

    def __init__(self, vae, tokenizer, text, worlds, r, size):
        self.vae, self.tokenizer, self.text, self.worlds, self.r, self.size = vae, tokenizer, text, worlds, r, size
        self.latents, self.weights = torch.empty(size, 4, 16, 16), torch.empty(size, 1, 16, 16)
        self.states = torch.empty(size, 77, text.config.hidden_size, dtype=torch.bfloat16)
        self.made = 0

    def __len__(self):
        return min(self.made, self.size)

    @torch.no_grad()
    def states_of(self, captions):
        ids = self.tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16):
            return self.text(input_ids=ids).last_hidden_state

    @torch.no_grad()
    def grow(self, count):
        for _ in range(0, count, 32):
            scenes = [self.worlds[self.r.random() >= CALM_SHARE].scene(self.r) for _ in range(32)]
            with torch.autocast("cpu", torch.bfloat16):
                mean = self.vae.encode(as_tensor(np.stack([np.asarray(scene.picture) for scene in scenes]))).latent_dist.mean
            inside = torch.from_numpy(np.stack([scene.labels > 0 for scene in scenes])).float()[:, None]
            at = (self.made + torch.arange(32)) % self.size
            self.latents[at] = mean.float() * self.vae.config.scaling_factor
            self.weights[at] = 1 + (THING_WEIGHT - 1) * F.max_pool2d(inside, 8)
            self.states[at] = self.states_of([scene.caption for scene in scenes]).bfloat16()
            self.made += 32


def loss_of(unet, products, latents, weights, states, noise, t):
    """Weighted squared error of the velocity (Salimans and Ho 2022). No further weights by noise level: those of min-SNR
    go to zero where the noise is strongest, which is where a picture's things are decided."""
    alpha = products[t].view(-1, 1, 1, 1)
    noised = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        out = unet(noised.contiguous(memory_format=torch.channels_last), t, states).sample.float()
    return (((out - target).square() * weights).mean((1, 2, 3)) / weights.mean((1, 2, 3))).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--cache", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile the net first (five minutes, a C++ compiler): steps take two thirds of the time")
    parser.add_argument("--cooldown", type=float, default=0.0, help="the last part of the run that lowers the rate")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    goes_on = goes_on_from_shipped(args.work)
    vae = AutoencoderKL.from_pretrained(SHIPPED / "vae" if goes_on else args.work / "autoencoder/vae").float().to(memory_format=torch.channels_last).requires_grad_(False)
    text, unet = text_encoder(args.work), new_model()
    training = Training(args.work / "denoiser", {"unet": unet}, args.rate, args.minutes, plain=("conv_in", "conv_out"), shipped={"unet": SHIPPED / "unet"} if goes_on else None)
    print(sum(p.numel() for p in unet.parameters()) / 1e6, "million parameters; step", training.step, flush=True)
    products = DDIMScheduler(**SCHEDULER).alphas_cumprod
    net = torch.compile(unet) if args.compile else unet
    worlds = [World(args.work, 128, spread=CALM), World(args.work, 128)]
    held_out = Cache(vae, tokenizer, text, [World(args.work, 128, "all", spread=CALM)] * 2, random.Random(10**9), 256)
    held_out.grow(256)
    fixed = torch.Generator().manual_seed(1)
    fixed_noise, fixed_t = torch.randn(256, 4, 16, 16, generator=fixed), torch.randint(0, 1000, (256,), generator=fixed)
    cache = Cache(vae, tokenizer, text, worlds, random.Random(21 + training.step), args.cache)
    cache.grow(args.cache // 8)
    print(f"first latents after {training.progress * args.minutes:.1f} min, std {cache.latents[: len(cache)].std().item():.2f}", flush=True)
    empty = cache.states_of([""]).bfloat16()
    torch.manual_seed(training.step)
    losses = []
    while training.progress < 1:
        if training.step % 6 == 5:
            cache.grow(32)
        pick = torch.randint(len(cache), (args.batch,))
        states = torch.where(torch.rand(args.batch, 1, 1) < 0.1, empty, cache.states[pick])
        noise, t = torch.randn(args.batch, 4, 16, 16), torch.randint(0, 1000, (args.batch,))
        loss = loss_of(net, products, cache.latents[pick], cache.weights[pick], states, noise, t)
        training.update(loss, args.batch, args.cooldown)
        losses.append(loss.item())
        if training.step % 100 == 0:
            print(training.step, f"{training.progress * args.minutes:.1f} min, loss {np.mean(losses[-100:]):.4f}, {training.pictures} pictures", flush=True)
        if training.step % 500 == 0:
            with torch.no_grad():
                loss = loss_of(training.average["unet"], products, held_out.latents, held_out.weights, held_out.states, fixed_noise, fixed_t)
            print(f"held out: loss {loss.item():.4f}", flush=True)
    training.save()


if __name__ == "__main__":
    main()
