"""Makes the numbers that tests/golden_steered.rs compares with: what steers a denoising net besides words (pictures, masks,
ControlNets), and other autoencoders, run by diffusers on the tiny nets of ../diffusion.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors numpy pillow
    python tests/golden/steered/make.py

Pictures and masks are made of formulas that the test restates. diffusers' inpainting draws a sample of the encoder's latents;
here as in Maquette their mean is taken, so that the first noise is the seed's. Writes beside itself.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, EulerDiscreteScheduler, MultiControlNetModel,
    StableDiffusionControlNetPipeline, StableDiffusionInpaintPipeline,
    StableDiffusionPipeline, UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "diffusion"))
from make import randomised, save_half  # noqa: E402

SD1 = HERE.parent / "diffusion/sd1"
SD2 = HERE.parent / "diffusion/sd2"
SCHEDULERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
CONTROL = dict(
    in_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=16,
    attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    conditioning_embedding_out_channels=(4, 6),
)


def picture(width, height):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 5 % 256, y * 7 % 256, (x ^ y) * 3 % 256], axis=-1).astype(np.uint8))


def mask(width, height):
    """White in the middle, with a border of grey tones; none of it is black, so that Maquette looks at the whole picture."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    inside = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    return Image.fromarray(np.clip(inside * 60 + 60, 0, 255).astype(np.uint8), "L")


class Parts:
    """A tiny Stable Diffusion and how it is called."""

    def __init__(self):
        expected = load_file(HERE.parent / "diffusion/expected.safetensors")
        self.words = dict(prompt_embeds=expected["text.prompt"], negative_prompt_embeds=expected["text.negative"])
        self.schedule = json.loads((SD1 / "scheduler/scheduler_config.json").read_text())
        self.unet, self.vae = UNet2DConditionModel.from_pretrained(SD1 / "unet"), AutoencoderKL.from_pretrained(SD1 / "vae")

    def pipe(self, pipeline, sampler="ddim", **more):
        parts = dict(
            vae=self.vae, unet=self.unet, text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
            scheduler=SCHEDULERS[sampler].from_config(self.schedule), requires_safety_checker=False,
        )
        pipe = pipeline(**parts | more)
        pipe.set_progress_bar_config(disable=True)
        if hasattr(pipe, "_encode_vae_image"):
            pipe._encode_vae_image = lambda image, generator: pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor
        return pipe

    def call(self, pipe, **more):
        arguments = dict(num_inference_steps=8, guidance_scale=3.0, output_type="latent", generator=torch.Generator().manual_seed(11))
        return pipe(**self.words, **arguments | more).images


def inpainting(parts, expected):
    nine = UNet2DConditionModel.from_pretrained(SD2 / "unet")
    for sampler in SCHEDULERS:
        for strength in (1.0, 0.6):
            for width, height in ((16, 16), (24, 20)):
                pipe = parts.pipe(StableDiffusionInpaintPipeline, sampler, unet=nine)
                name = f"inpaint.{sampler}.{strength}.{width}x{height}"
                expected[name] = parts.call(
                    pipe, image=picture(width, height), mask_image=mask(width, height), strength=strength, width=16, height=16)


def control(parts, expected):
    nets = [randomised(ControlNetModel(**CONTROL), seed) for seed in (21, 22)]
    for index, net in enumerate(nets):
        save_half(net, HERE / f"control{index}")
    for sampler in SCHEDULERS:
        pipe = parts.pipe(StableDiffusionControlNetPipeline, sampler, controlnet=nets[0])
        for scale, start, end, width, height in ((1.0, 0.0, 1.0, 16, 16), (0.7, 0.2, 0.7, 50, 37)):
            expected[f"control.{sampler}.{scale}.{start}.{end}.{width}x{height}"] = parts.call(
                pipe, image=picture(width, height), controlnet_conditioning_scale=scale, control_guidance_start=start,
                control_guidance_end=end, width=16, height=16)
    pipe = parts.pipe(StableDiffusionControlNetPipeline, controlnet=MultiControlNetModel(nets))
    expected["control.two"] = parts.call(
        pipe, image=[picture(16, 16), picture(20, 9)], controlnet_conditioning_scale=[0.5, 0.8], control_guidance_start=[0.0, 0.3],
        control_guidance_end=[0.6, 1.0], width=16, height=16)


def tiny(parts, expected):
    config = dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 2),
                  num_decoder_blocks=(2, 1))
    net = randomised(AutoencoderTiny(**config), 23)
    save_half(net, HERE / "taesd")
    # The same net as its author names its tensors: plain sequences, the decoder's beginning with a layer without weights.
    halves = {"encoder": {}, "decoder": {}}
    for name, value in net.state_dict().items():
        half, _, index, rest = name.split(".", 3)
        halves[half][f"{int(index) + (half == 'decoder')}.{rest}"] = value.half()
    for half, tensors in halves.items():
        save_file(tensors, HERE / f"taesd_{half}.safetensors")
    pipe = parts.pipe(StableDiffusionPipeline, vae=net)
    image = parts.call(pipe, width=32, height=16, output_type="np")[0]
    expected["tiny.picture"] = torch.from_numpy((image * 255).round())


def tiles(parts, expected):
    vae = parts.vae
    generator = torch.Generator().manual_seed(24)
    for height, width in ((20, 14), (8, 17), (26, 26)):
        z = torch.randn(1, 4, height, width, generator=generator)
        image = torch.rand(1, 3, 2 * height, 2 * width, generator=generator) * 2 - 1
        vae.enable_tiling()
        name = f"{height}x{width}"
        expected |= {f"tiles.z.{name}": z, f"tiles.image.{name}": image}
        expected[f"tiles.decoded.{name}"] = vae.decode(z / vae.config.scaling_factor).sample
        expected[f"tiles.encoded.{name}"] = vae.encode(image).latent_dist.mean * vae.config.scaling_factor
        vae.disable_tiling()


def main():
    torch.set_grad_enabled(False)
    parts, expected = Parts(), {}
    inpainting(parts, expected)
    control(parts, expected)
    tiny(parts, expected)
    tiles(parts, expected)
    save_file({k: v.contiguous().float() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
