"""Makes what tests/golden_checkpoint.rs compares with: tiny Stable Diffusions run by diffusers and transformers, and lists of the tensors that
their single files consist of.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors numpy
    python tests/golden/checkpoint/make.py

No weights are stored: both sides draw them from the tensors' names, so that the nets may have the sizes that the formats ask for. A list has a
line for each tensor of a single file: its name, its shape, `turned` or `-`, and the tensors of diffusers that it is made of. diffusers' own
converters must turn every file back into what it was made of.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as reference
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = Path(__file__).resolve().parent
WORDS, LENGTH = 521, 16


def numbers(name, count):
    """SplitMix64 from FNV-1a of the name, -1 to 1."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def drawn(name, shape):
    values = numbers(name, int(np.prod(shape)))
    if len(shape) == 1:
        values = (1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.25 * values
    else:
        values = np.sqrt(3.0 / np.prod(shape[1:])) * values
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def fill(net, part):
    """Draws a net's weights; returns the whole names and tensors by their names in the net."""
    names = {}
    for key, p in net.named_parameters():
        names[key] = f"{part}.{key}"
        p.data = drawn(names[key], tuple(p.shape))
    return net.eval(), names


class File:
    def __init__(self):
        self.tensors, self.lines = {}, []

    def add(self, name, parts, sources, turned=False):
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        tensor = (tensor.t() if turned else tensor).contiguous()
        self.tensors[name] = tensor
        shape = ",".join(map(str, tensor.shape))
        self.lines.append(" ".join([name, shape, "turned" if turned else "-", *sources]))


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "conv_shortcut": "skip_connection"}
OUTER = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
         "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}


def unet_name(key, layers, attends_up):
    for new, old in OUTER.items():
        if key.startswith(new + "."):
            return old + key.removeprefix(new)
    parts = key.split(".")
    if parts[0] == "mid_block":
        if parts[1] == "attentions":
            return "middle_block.1." + ".".join(parts[3:])
        return f"middle_block.{2 * int(parts[2])}.{RESNET[parts[3]]}.{parts[4]}"
    level, kind, layer, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (level + 1)}.0.op.{rest[1]}"
        block = f"input_blocks.{(layers + 1) * level + 1 + layer}"
    else:
        if kind == "upsamplers":
            return f"output_blocks.{(layers + 1) * (level + 1) - 1}.{2 if attends_up[level] else 1}.conv.{rest[1]}"
        block = f"output_blocks.{(layers + 1) * level + layer}"
    if kind == "attentions":
        return ".".join([block, "1", *rest])
    return f"{block}.0.{RESNET[rest[0]]}.{rest[1]}"


def vae_name(key, levels):
    mid = {"resnets.0": "block_1", "resnets.1": "block_2", "attentions.0.group_norm": "attn_1.norm", "attentions.0.to_q": "attn_1.q",
           "attentions.0.to_k": "attn_1.k", "attentions.0.to_v": "attn_1.v", "attentions.0.to_out.0": "attn_1.proj_out"}
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    for new, old in mid.items():
        key = key.replace(f"mid_block.{new}.", f"mid.{old}.")
    parts = key.split(".")
    if len(parts) > 2 and parts[1] in ("down_blocks", "up_blocks"):
        way = parts[1].removesuffix("_blocks")
        level = int(parts[2]) if way == "down" else levels - 1 - int(parts[2])
        inner = ["block", *parts[4:]] if parts[3] == "resnets" else [f"{way}sample", *parts[5:]]
        key = ".".join([parts[0], way, str(level), *inner])
    return key


def add_open_clip(file, prefix, text, names):
    layer = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    outer = {"embeddings.token_embedding.weight": "token_embedding.weight", "embeddings.position_embedding.weight": "positional_embedding",
             "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}
    tensors = dict(text.named_parameters())
    for key in tensors:
        bare = key.removeprefix("text_model.")
        if bare in outer:
            file.add(prefix + outer[bare], [tensors[key]], [names[key]])
        elif bare == "text_projection.weight":
            file.add(prefix + "text_projection", [tensors[key]], [names[key]], turned=True)
        elif "q_proj" in bare:
            three = [key.replace("q_proj", f"{c}_proj") for c in "qkv"]
            number, kind = bare.split(".")[2], bare.rsplit(".", 1)[1]
            file.add(f"{prefix}transformer.resblocks.{number}.attn.in_proj_{kind}", [tensors[k] for k in three], [names[k] for k in three])
        elif "k_proj" not in bare and "v_proj" not in bare:
            number, (module, kind) = bare.split(".")[2], bare.split(".", 3)[3].rsplit(".", 1)
            file.add(f"{prefix}transformer.resblocks.{number}.{layer[module]}.{kind}", [tensors[key]], [names[key]])


def text_config(width, layers, act, projection=None):
    return CLIPTextConfig(vocab_size=WORDS, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
                          num_attention_heads=max(1, width // 64), max_position_embeddings=LENGTH, hidden_act=act, bos_token_id=WORDS - 2,
                          eos_token_id=WORDS - 1, pad_token_id=0, projection_dim=projection or width)


UNETS = {
    "sd1": dict(block_out_channels=(32, 64), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=32, attention_head_dim=8),
    "sd2": dict(in_channels=9, block_out_channels=(32, 64, 128), layers_per_block=2, cross_attention_dim=64, attention_head_dim=(1, 1, 2),
                down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), use_linear_projection=True,
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")),
    "sdxl": dict(block_out_channels=(32, 64, 128), layers_per_block=2, cross_attention_dim=96, attention_head_dim=(1, 1, 2),
                 down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), use_linear_projection=True,
                 up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 1, 2),
                 addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=96),
}


def check(what, converted, net):
    tensors = {k.removeprefix("text_model."): v for k, v in net.state_dict().items() if "position_ids" not in k}
    converted = {k.removeprefix("text_model."): v for k, v in converted.items() if "position_ids" not in k}
    for key, value in tensors.items():
        assert torch.equal(converted[key].reshape(value.shape), value), (what, key)


def make(kind, expected):
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    file, config = File(), dict(dict(sample_size=8, in_channels=4, out_channels=4), **UNETS[kind])
    unet, names = fill(UNet2DConditionModel(**config), f"{kind}.unet")
    attends_up = [name.startswith("Cross") for name in config["up_block_types"]]
    for key, value in unet.named_parameters():
        file.add("model.diffusion_model." + unet_name(key, config["layers_per_block"], attends_up), [value], [names[key]])
    vae, names = fill(AutoencoderKL(block_out_channels=(32, 64), layers_per_block=1 if kind == "sd1" else 2, latent_channels=4, norm_num_groups=32,
                                    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                                    scaling_factor=0.13025 if kind == "sdxl" else 0.18215), f"{kind}.vae")
    for key, value in vae.named_parameters():
        # The original attention consists of 1x1 convolutions.
        is_conv = value.ndim == 2
        file.add("first_stage_model." + vae_name(key, 2), [value[:, :, None, None] if is_conv else value], [names[key]])
    texts = []
    if kind == "sd1":
        text, names = fill(CLIPTextModel(text_config(32, 2, "quick_gelu")), f"{kind}.text")
        for key, value in text.named_parameters():
            file.add(f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}", [value], [names[key]])
        check("text", reference.convert_ldm_clip_checkpoint(dict(file.tensors)), text)
        texts = [text]
    elif kind == "sd2":
        text, names = fill(CLIPTextModel(text_config(64, 3, "gelu")), f"{kind}.text")
        add_open_clip(file, "cond_stage_model.model.", text, names)
        texts = [text]
    else:
        first, names = fill(CLIPTextModel(text_config(32, 2, "quick_gelu")), f"{kind}.text")
        for key, value in first.named_parameters():
            file.add(f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}", [value], [names[key]])
        second, names = fill(CLIPTextModelWithProjection(text_config(64, 3, "gelu", 48)), f"{kind}.text_2")
        add_open_clip(file, "conditioner.embedders.1.model.", second, names)
        texts = [first, second]
    check("unet", reference.convert_ldm_unet_checkpoint(dict(file.tensors), config), unet)
    check("vae", reference.convert_ldm_vae_checkpoint(dict(file.tensors), vae.config), vae)
    (HERE / f"{kind}.txt").write_text("\n".join(sorted(file.lines)) + "\n")

    x, prompt = draw(1, config["in_channels"], 8, 8), draw(1, 5, config["cross_attention_dim"])
    picture, z = draw(1, 3, 16, 16).clamp(-1, 1), draw(1, 4, 8, 8)
    ids = torch.tensor([[WORDS - 2, 5, 99, 300, 7, WORDS - 1]])
    added = None
    if kind == "sdxl":
        pooled = draw(1, 48)
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 48.0, 0.0, 8.0, 32.0, 40.0]])}
        expected |= {"sdxl.pooled": pooled, "sdxl.time_ids": added["time_ids"][0]}
    scale = vae.config.scaling_factor
    expected |= {
        f"{kind}.x": x, f"{kind}.prompt": prompt, f"{kind}.picture": picture, f"{kind}.z": z, "ids": ids.float(),
        f"{kind}.unet": unet(x, 321.5, prompt, added_cond_kwargs=added).sample,
        f"{kind}.encoded": vae.encode(picture).latent_dist.mean * scale, f"{kind}.decoded": vae.decode(z / scale).sample,
    }
    if kind == "sd2":
        # diffusers has the tower without its last layer.
        short = CLIPTextModel(text_config(64, 2, "gelu"))
        short.load_state_dict(texts[0].state_dict(), strict=False)
        texts = [short.eval()]
    for number, text in enumerate(texts):
        out = text(ids)
        expected[f"{kind}.text.{number}"] = out.last_hidden_state
        if number == 1:
            expected["sdxl.projected"] = out.text_embeds


def main():
    torch.set_grad_enabled(False)
    expected = {}
    for kind in UNETS:
        make(kind, expected)
    save_file({k: v.contiguous().float() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
