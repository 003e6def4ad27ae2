"""Makes the numbers that tests/golden_diffusion.rs compares with: tiny seeded nets run by diffusers and transformers.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors numpy
    python tests/golden/diffusion/make.py

Weights are rounded to 16 bits before anything is computed, so that the files stay small and both sides read the same.
Writes beside itself.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = Path(__file__).resolve().parent
SAMPLERS = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "dpm++2m": DPMSolverMultistepScheduler,
}
BASE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PROMPT, NEGATIVE = "a red cube", "blurry"


def randomised(net, seed):
    """Weights that make every part of the net matter, rounded to 16 bits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(net.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim == 1:
                value = (1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.2 * noise
            else:
                value = noise / p[0].numel() ** 0.5
            p.copy_(value.half().float())
    return net.eval()


def save_half(net, folder):
    net.save_pretrained(folder, safe_serialization=True)
    file = next(folder.glob("*.safetensors"))
    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()}, file)


def unets():
    """Like SD 1 (1x1 convolutions, a number of heads) and like SD 2 (linear projections, lists, 9 channels, uneven depth)."""
    like_sd1 = dict(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2, norm_num_groups=4,
    )
    like_sd2 = dict(
        like_sd1, in_channels=9, layers_per_block=(1, 2), attention_head_dim=(2, 4), use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        transformer_layers_per_block=(2, 1), flip_sin_to_cos=False, freq_shift=1,
    )
    return {"sd1": randomised(UNet2DConditionModel(**like_sd1), 1), "sd2": randomised(UNet2DConditionModel(**like_sd2), 2)}


def vaes():
    config = dict(
        block_out_channels=(8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )
    plain = dict(config, mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
                 shift_factor=0.1, scaling_factor=0.5)
    return {"sd1": randomised(AutoencoderKL(**config), 3), "sd2": randomised(AutoencoderKL(**plain), 4)}


def write_tokenizer(folder):
    """CLIP's 256 byte symbols, alone and at the end of a word, with a handful of merges."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    merges = ["r e", "re d</w>", "c u", "b e</w>", "cu be</w>", "b l", "u r"]
    words = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 16, "pad_token": "<|endoftext|>",
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    }))
    return vocabulary


def ids_of(vocabulary, words):
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    ids = [start, *(vocabulary[w] for w in words), end]
    return torch.tensor([ids + [end] * (16 - len(ids))])


def write_nets(expected):
    generator = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    for kind, unet in unets().items():
        save_half(unet, HERE / kind / "unet")
        x, prompt = draw(2, unet.config.in_channels, 8, 8), draw(2, 16, 16)
        for i, t in enumerate((0.0, 500.5, 999.0)):
            expected[f"{kind}.unet.{i}"] = unet(x, t, prompt).sample
        expected |= {f"{kind}.unet.x": x, f"{kind}.unet.prompt": prompt}
    for kind, vae in vaes().items():
        save_half(vae, HERE / kind / "vae")
        picture, z = draw(1, 3, 16, 16).clamp(-1, 1), draw(1, 4, 8, 8)
        shift = vae.config.shift_factor or 0.0
        scale = vae.config.scaling_factor
        expected |= {
            f"{kind}.vae.picture": picture, f"{kind}.vae.z": z,
            f"{kind}.vae.mean": (vae.encode(picture).latent_dist.mean - shift) * scale,
            f"{kind}.vae.decoded": vae.decode(z / scale + shift).sample,
        }
    # Sides that cannot be halved without a rest.
    for kind in unets():
        unet = UNet2DConditionModel.from_pretrained(HERE / kind / "unet").float().eval()
        x, prompt = draw(2, unet.config.in_channels, 7, 13), draw(2, 16, 16)
        expected |= {f"{kind}.unet.odd.x": x, f"{kind}.unet.odd.prompt": prompt, f"{kind}.unet.odd": unet(x, 500.0, prompt).sample}


def write_old_vae():
    """The first autoencoder under the names that attention had before 2023."""
    tensors = load_file(HERE / "sd1/vae/diffusion_pytorch_model.safetensors")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in tensors.items():
        for new, old in names.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[key] = value
    folder = HERE / "old_vae"
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "sd1/vae/config.json", folder)
    save_file(renamed, folder / "diffusion_pytorch_model.safetensors")


def write_pipeline(expected):
    """A whole tiny Stable Diffusion: words to latents."""
    folder = HERE / "sd1"
    vocabulary = write_tokenizer(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, hidden_act="quick_gelu", bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"], pad_token_id=vocabulary["<|endoftext|>"],
    )
    text = randomised(CLIPTextModel(config), 6)
    save_half(text, folder / "text_encoder")
    schedule = dict(BASE, _class_name="PNDMScheduler", set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading",
                    clip_sample=False, prediction_type="epsilon", skip_prk_steps=True)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(schedule, indent=1))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    red_cube = ids_of(vocabulary, ["a</w>", "red</w>", "cube</w>"])
    blurry = ids_of(vocabulary, ["bl", "ur", "r", "y</w>"])
    states, unwanted = text(red_cube).last_hidden_state, text(blurry).last_hidden_state
    expected |= {"text.prompt": states, "text.negative": unwanted}
    unet, vae = UNet2DConditionModel.from_pretrained(folder / "unet"), AutoencoderKL.from_pretrained(folder / "vae")
    for name, scheduler in SAMPLERS.items():
        parts = dict(vae=vae, unet=unet, text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
                     scheduler=scheduler.from_config(schedule), requires_safety_checker=False)
        words = dict(prompt_embeds=states, negative_prompt_embeds=unwanted, guidance_scale=3.0, output_type="latent")
        pipe = StableDiffusionPipeline(**parts)
        pipe.set_progress_bar_config(disable=True)
        result = pipe(**words, num_inference_steps=4, height=16, width=16, generator=torch.Generator().manual_seed(11))
        expected[f"pipeline.{name}"] = pipe.vae.decode(result.images / vae.config.scaling_factor).sample
    # From a picture: diffusers draws the encoder's sample too, so latents are given and noise is drawn alone.
    pipe = StableDiffusionImg2ImgPipeline(**dict(parts, scheduler=DDIMScheduler.from_config(schedule)))
    for steps, strength in ((10, 0.7), (20, 0.8), (4, 0.3), (5, 1.0), (3, 0.34)):
        pipe.scheduler.set_timesteps(steps)
        left = pipe.get_timesteps(steps, strength, "cpu")[0]
        expected[f"strength.{steps}.{strength}"] = left.float()


def trajectories():
    """Each sampler on a made-up net, whose answer depends on sample, step and place."""
    out = []
    spacings = ("leading", "trailing", "linspace")
    cases = [(p, s, 7, {}) for p in ("epsilon", "v_prediction") for s in spacings]
    cases += [("v_prediction", s, 5, {"rescale_betas_zero_snr": True}) for s in spacings]
    cases += [("epsilon", "trailing", 5, {"rescale_betas_zero_snr": True})]
    cases += [("sample", "trailing", 5, {}), ("epsilon", "leading", 20, {"beta_schedule": "squaredcos_cap_v2"})]
    cases += [("epsilon", "leading", 30, {"steps_offset": 1, "set_alpha_to_one": False}), ("epsilon", "trailing", 30, {})]
    cases += [("epsilon", "linspace", 16, {"beta_schedule": "linear", "final_sigmas_type": "sigma_min"})]
    for name, scheduler_class in SAMPLERS.items():
        for prediction, spacing, steps, extra in cases:
            zero = extra.get("rescale_betas_zero_snr")
            if (name == "euler-a" and prediction == "sample") or (name == "ddim" and zero and prediction == "epsilon"):
                continue  # diffusers has no numbers for these: not implemented, and not a number
            config = dict(BASE, prediction_type=prediction, timestep_spacing=spacing, clip_sample=False) | extra
            scheduler = scheduler_class.from_config(config)
            scheduler.set_timesteps(steps)
            noise = torch.Generator().manual_seed(7)
            sample = torch.randn(16, generator=noise) * scheduler.init_noise_sigma
            start, samples = sample, []
            for i, t in enumerate(scheduler.timesteps):
                x = scheduler.scale_model_input(sample, t)
                answer = 0.4 * x + 0.5 * torch.cos(torch.arange(16) * 0.7 + i) + t / 2000
                extra_arguments = {"generator": noise} if name == "euler-a" else {}
                sample = scheduler.step(answer, t, sample, **extra_arguments).prev_sample
                samples.append(sample.tolist())
            assert torch.tensor(samples).isfinite().all(), (name, config)
            index = steps // 2
            scheduler.set_timesteps(steps)
            noised = scheduler.add_noise(torch.ones(1, 16), start[None] * 0 + 2, scheduler.timesteps[index : index + 1])
            out.append({
                "sampler": name, "config": config, "steps": steps, "timesteps": [float(t) for t in scheduler.timesteps],
                "start": start.tolist(), "samples": [samples[0], samples[-2], samples[-1]],
                "noised": noised[0, 0].item(),
            })
    return out


def random_numbers():
    out = {}
    for seed in (0, 1, 42, 2**32 + 5):
        for count in (1, 5, 15, 16, 17, 100, 256, 1000):
            out[f"randn.{seed}.{count}"] = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(3)
    out["randn.mixed"] = torch.cat([torch.randn(n, generator=generator) for n in (3, 20, 4, 16, 1)])
    return out


def main():
    torch.set_grad_enabled(False)
    expected = {}
    write_nets(expected)
    write_old_vae()
    write_pipeline(expected)
    expected |= random_numbers()
    save_file({k: v.contiguous().float() for k, v in expected.items()}, HERE / "expected.safetensors")
    text = json.dumps(trajectories())
    (HERE / "trajectories.json").write_text(text)


if __name__ == "__main__":
    main()
