"""Trains the denoising net and its text encoder on cached latents: v-prediction with min-SNR weights, moving average.

The cache is refilled with new scenes piece by piece, so that no scene is seen too often.
"""

import argparse
import copy
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from world import World, work_folder

SCHEDULER = dict(
    num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.014, prediction_type="v_prediction",
    clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing",
)


def new_models(tokenizer):
    end = tokenizer.eos_token_id
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=160, intermediate_size=640, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(80, 128, 192), layers_per_block=1, cross_attention_dim=160,
        down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3, attention_head_dim=4, norm_num_groups=16,
    )
    return unet, text


@torch.no_grad()
def latents_of(vae, world, r, count):
    """Scaled latents (count, 4, 16, 16) in bfloat16 and the captions of as many new scenes."""
    latents, captions = [], []
    while len(captions) < count:
        pictures = []
        for _ in range(32):
            picture, caption, _, _ = world.scene(r)
            pictures.append(np.asarray(picture))
            captions.append(caption)
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents.append(vae.encode(x).latent_dist.mean.float() * vae.config.scaling_factor)
    return torch.cat(latents).bfloat16(), captions


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--cache", type=int, default=12000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    r, world = random.Random(21), World(args.work, 128)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.work / "vae").to(memory_format=torch.channels_last).requires_grad_(False)
    folder = args.work / "denoiser"
    unet, text = new_models(tokenizer)
    if (folder / "raw.pt").exists():
        state = torch.load(folder / "raw.pt")
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
    unet = unet.to(memory_format=torch.channels_last)
    print(sum(p.numel() for p in unet.parameters()) / 1e6, sum(p.numel() for p in text.parameters()) / 1e6, "million parameters", flush=True)
    average = copy.deepcopy(unet).requires_grad_(False), copy.deepcopy(text).requires_grad_(False)
    parameters = list(unet.parameters()) + list(text.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=1e-3, betas=(0.9, 0.98))
    products = DDIMScheduler(**SCHEDULER).alphas_cumprod

    def save():
        folder.mkdir(exist_ok=True)
        torch.save({"unet": unet.state_dict(), "text": text.state_dict()}, folder / "raw.tmp")
        (folder / "raw.tmp").rename(folder / "raw.pt")
        average[0].save_pretrained(folder / "unet")
        average[1].save_pretrained(folder / "text_encoder")

    start, saved, step, losses = time.time(), time.time(), 0, []
    latents, captions = latents_of(vae, world, r, args.cache // 4)
    ids = tokenizer(captions + [""], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    print(f"first latents after {time.time() - start:.0f} s, std {latents.float().std().item():.2f}", flush=True)
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        if step % 12 == 11:
            # A few new scenes; once the cache is full they replace the oldest.
            more, more_captions = latents_of(vae, world, r, 32)
            latents, captions = torch.cat([latents, more])[-args.cache :], (captions + more_captions)[-args.cache :]
            more_ids = tokenizer(more_captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            ids = torch.cat([torch.cat([ids[:-1], more_ids])[-args.cache :], ids[-1:]])
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 200) * (0.5 * (1 + np.cos(np.pi * done)) * 0.97 + 0.03)
        pick = torch.randint(len(captions), (args.batch,))
        x0, noise = latents[pick].float(), torch.randn(args.batch, 4, 16, 16)
        words = torch.where(torch.rand(args.batch) < 0.1, len(captions), pick)
        t = torch.randint(0, 1000, (args.batch,))
        alpha = products[t].view(-1, 1, 1, 1)
        noised = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * x0
        with torch.autocast("cpu", torch.bfloat16):
            states = text(input_ids=ids[words]).last_hidden_state
            out = unet(noised.contiguous(memory_format=torch.channels_last), t, states).sample.float()
        snr = (alpha / (1 - alpha)).view(-1)
        loss = (F.mse_loss(out, target, reduction="none").mean((1, 2, 3)) * snr.clamp(max=5) / (snr + 1) * 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        decay = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for slow, fast in zip(average, (unet, text)):
                torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - decay)
        losses.append(loss.item())
        if step % 100 == 0:
            print(step, f"{time.time() - start:.0f} s, loss {np.mean(losses[-100:]):.4f}, {step * args.batch} pictures", flush=True)
        if time.time() - saved > 240:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
