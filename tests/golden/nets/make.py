"""Makes the numbers that tests/golden_nets.rs compares with: tiny seeded nets beyond Stable Diffusion 1 and 2, run by diffusers.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors numpy
    python tests/golden/nets/make.py

Weights are rounded to 16 bits before anything is computed. Writes beside itself.
"""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "diffusion"))
from make import randomised, save_half  # noqa: E402

UNET = dict(
    sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=12,
)
SDXL = dict(
    UNET, attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type="text_time",
    addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 10,
)
LCM = dict(UNET, attention_head_dim=2, time_cond_proj_dim=10)
CONTROL = dict(
    in_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=12, attention_head_dim=2,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), conditioning_embedding_out_channels=(4, 6, 8),
)
PLAIN = dict(UNET, attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))


def main():
    torch.set_grad_enabled(False)
    generator = torch.Generator().manual_seed(8)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    expected = {}
    x, prompt, pooled = draw(2, 4, 8, 8), draw(2, 9, 12), draw(2, 10)
    ids = torch.tensor([[1024.0, 768.0, 0.0, 16.0, 512.0, 640.0]] * 2)
    expected |= {"x": x, "prompt": prompt, "pooled": pooled, "ids": ids[0]}

    sdxl = randomised(UNet2DConditionModel(**SDXL), 11)
    save_half(sdxl, HERE / "sdxl")
    expected["sdxl"] = sdxl(x, 300.25, prompt, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample

    lcm = randomised(UNet2DConditionModel(**LCM), 12)
    save_half(lcm, HERE / "lcm")
    for scale in (1.0, 7.5):
        waves = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor([scale - 1.0]), embedding_dim=10)
        expected[f"lcm.{scale}"] = lcm(x, 499.0, prompt, timestep_cond=waves.expand(2, -1)).sample

    control, plain = randomised(ControlNetModel(**CONTROL), 13), randomised(UNet2DConditionModel(**PLAIN), 14)
    save_half(control, HERE / "control")
    save_half(plain, HERE / "plain")
    picture = torch.rand(1, 3, 32, 32, generator=generator)
    down, middle = control(x, 120.0, prompt, picture.expand(2, -1, -1, -1), conditioning_scale=0.7, return_dict=False)
    expected["picture"] = picture
    expected["controlled"] = plain(x, 120.0, prompt, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample

    tiny = randomised(
        AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(2, 1, 1),
            scaling_factor=1.5,
        ), 15)
    save_half(tiny, HERE / "tiny")
    expected["tiny.latents"] = tiny.encode(picture * 2 - 1).latents * 1.5
    expected["tiny.decoded"] = tiny.decode(x / 1.5).sample
    save_file({k: v.contiguous().float() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
