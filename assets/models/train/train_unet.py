"""Trains the denoising net and its text encoder on cached latents: v-prediction with min-SNR weights, moving average.

The cache is refilled with new scenes piece by piece, so that no scene is seen too often.
"""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from train_vae import as_tensor
from training import Training
from world import World, work_folder

SCHEDULER = dict(
    num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.014, prediction_type="v_prediction",
    clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing",
)
# The loss counts this much more where a thing is: plain backgrounds are learnt soon, shapes are not.
THING_WEIGHT = 4.0


def new_models(tokenizer):
    end = tokenizer.eos_token_id
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=192, intermediate_size=768, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 128, 256), layers_per_block=1, cross_attention_dim=192,
        down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3, attention_head_dim=4, norm_num_groups=16,
    )
    # On processors the plain attention is much faster backwards than the fused one.
    unet.set_attn_processor(AttnProcessor())
    text.set_attn_implementation("eager")
    return unet, text


class Cache:
    """Scaled latents (n, 4, 16, 16), weights of their places (n, 1, 16, 16) and token ids (n, 77) of the newest scenes."""

    def __init__(self, vae, tokenizer, world, r, size):
        self.vae, self.tokenizer, self.world, self.r, self.size = vae, tokenizer, world, r, size
        self.latents, self.weights, self.ids = torch.empty(0, 4, 16, 16), torch.empty(0, 1, 16, 16), torch.empty(0, 77, dtype=torch.long)

    @torch.no_grad()
    def grow(self, count):
        for _ in range(0, count, 32):
            scenes = [self.world.scene(self.r) for _ in range(32)]
            with torch.autocast("cpu", torch.bfloat16):
                mean = self.vae.encode(as_tensor(np.stack([np.asarray(scene.picture) for scene in scenes]))).latent_dist.mean
            inside = torch.from_numpy(np.stack([scene.labels > 0 for scene in scenes])).float()[:, None]
            weights = 1 + (THING_WEIGHT - 1) * F.max_pool2d(inside, 8)
            ids = self.tokenizer([scene.caption for scene in scenes], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            self.latents = torch.cat([self.latents, mean.float() * self.vae.config.scaling_factor])[-self.size :]
            self.weights = torch.cat([self.weights, weights])[-self.size :]
            self.ids = torch.cat([self.ids, ids])[-self.size :]


def loss_of(unet, text, products, latents, weights, ids, noise, t):
    """Weighted squared error of the velocity (Salimans and Ho 2022), with min-SNR weights (Hang et al. 2023, gamma 5)."""
    alpha = products[t].view(-1, 1, 1, 1)
    noised = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        states = text(input_ids=ids).last_hidden_state
        out = unet(noised.contiguous(memory_format=torch.channels_last), t, states).sample.float()
    snr = (alpha / (1 - alpha)).view(-1)
    errors = ((out - target).square() * weights).mean((1, 2, 3)) / weights.mean((1, 2, 3))
    return (errors * snr.clamp(max=5) / (snr + 1) * 2).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--cache", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cooldown", type=float, default=0.0, help="the last part of the run that lowers the rate")
    parser.add_argument("--name", default="denoiser", help="folder of the checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.work / "autoencoder/vae").to(memory_format=torch.channels_last).requires_grad_(False)
    unet, text = new_models(tokenizer)
    unet = unet.to(memory_format=torch.channels_last)
    training = Training(args.work / args.name, {"unet": unet, "text_encoder": text}, args.rate, args.minutes, plain=("embedding", "conv_in", "conv_out"))
    print(sum(p.numel() for p in unet.parameters()) / 1e6, sum(p.numel() for p in text.parameters()) / 1e6, "million parameters; step", training.step, flush=True)
    products = DDIMScheduler(**SCHEDULER).alphas_cumprod
    held_out = Cache(vae, tokenizer, World(args.work, 128, "all"), random.Random(10**9), 256)
    held_out.grow(256)
    fixed = torch.Generator().manual_seed(1)
    fixed_noise, fixed_t = torch.randn(256, 4, 16, 16, generator=fixed), torch.randint(0, 1000, (256,), generator=fixed)
    cache = Cache(vae, tokenizer, World(args.work, 128), random.Random(21 + training.step), args.cache)
    cache.grow(args.cache // 8)
    print(f"first latents after {training.progress * args.minutes:.1f} min, std {cache.latents.std().item():.2f}", flush=True)
    empty = tokenizer([""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    torch.manual_seed(training.step)
    losses = []
    while training.progress < 1:
        if training.step % 8 == 7:
            cache.grow(32)
        pick = torch.randint(len(cache.ids), (args.batch,))
        ids = torch.where(torch.rand(args.batch, 1) < 0.1, empty, cache.ids[pick])
        noise, t = torch.randn(args.batch, 4, 16, 16), torch.randint(0, 1000, (args.batch,))
        loss = loss_of(unet, text, products, cache.latents[pick], cache.weights[pick], ids, noise, t)
        training.update(loss, args.batch, args.cooldown)
        losses.append(loss.item())
        if training.step % 100 == 0:
            print(training.step, f"{training.progress * args.minutes:.1f} min, loss {np.mean(losses[-100:]):.4f}, {training.pictures} pictures", flush=True)
        if training.step % 500 == 0:
            with torch.no_grad():
                models = training.average
                loss = loss_of(models["unet"], models["text_encoder"], products, held_out.latents, held_out.weights, held_out.ids, fixed_noise, fixed_t)
            print(f"held out: loss {loss.item():.4f}", flush=True)
    training.save()


if __name__ == "__main__":
    main()
