"""Makes the LoRA files and the numbers that tests/golden_lora.rs compares with: diffusers and PEFT on the tiny models beside this folder.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2 safetensors numpy
    python tests/golden/lora/make.py

Every file is loaded by diffusers itself where it knows the format; `mid` (LoCon with a middle) is merged here by its definition, and
the LoHa and LoKr are PEFT's under LyCORIS' names.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel

HERE = Path(__file__).resolve().parent
SD1, SDXL = HERE.parent / "diffusion" / "sd1", HERE.parent / "nets" / "sdxl"
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
CONVS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
GENERATOR = torch.Generator().manual_seed(5)


def draw(*shape):
    return torch.randn(shape, generator=GENERATOR)


def half(tensor):
    return tensor.detach().half().contiguous()


def layers(net, ends):
    """The layers of a net whose names end so, by name."""
    return {n: m for n, m in net.named_modules() if any(n == e or n.endswith("." + e) for e in ends)}


def factors(module, rank):
    """Random factors that matter, rounded to 16 bits."""
    shape = module.weight.shape
    kernel = shape[2:]
    down = draw(rank, *shape[1:]) / shape[1:].numel() ** 0.5
    # Stronger ones make nets in which rounding alone costs more than the tests allow, in PyTorch too.
    up = 0.5 * draw(shape[0], rank, *(1 for _ in kernel)) / rank**0.5
    return half(down), half(up)


def kohya(net, ends, prefix, rank, alpha, rename=lambda name: name):
    file = {}
    for name, module in layers(net, ends).items():
        key = prefix + rename(name).replace(".", "_")
        file[f"{key}.lora_down.weight"], file[f"{key}.lora_up.weight"] = factors(module, rank)
        file[f"{key}.alpha"] = torch.tensor(float(alpha)).half()
    return file


def sgm(name):
    """diffusers' names of a denoising net with one residual block a level, as the original code counts them."""
    leaf = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
            "conv_shortcut": "skip_connection"}
    parts = name.split(".")
    if parts[0] == "down_blocks":
        level, kind, layer, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        if kind == "downsamplers":
            return f"input_blocks.{2 * level + 2}.0.op"
        block = f"input_blocks.{2 * level + 1 + layer}"
    elif parts[0] == "up_blocks":
        level, kind, layer, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        if kind == "upsamplers":
            return f"output_blocks.{2 * level + 1}.{2 if level == 0 else 1}.conv"
        block = f"output_blocks.{2 * level + layer}"
    elif parts[0] == "mid_block":
        kind, layer, rest = parts[1], int(parts[2]), parts[3:]
        if kind == "attentions":
            return ".".join(["middle_block.1", *rest])
        return ".".join([f"middle_block.{2 * layer}", leaf[rest[0]], *rest[1:]])
    if kind == "resnets":
        return ".".join([f"{block}.0", leaf[rest[0]], *rest[1:]])
    return ".".join([f"{block}.1", *rest])


class Runs:
    """What the nets make of fixed inputs."""

    def __init__(self):
        self.x, self.prompt, self.pooled = draw(1, 4, 8, 8), draw(1, 9, 16), draw(1, 10)
        self.xl_prompt, self.time_ids = draw(1, 9, 12), torch.tensor([[1024.0, 768.0, 0.0, 16.0, 512.0, 640.0]])
        self.ids = torch.tensor([[519, 3, 77, 200, 4, 520]])
        self.expected = {"x": self.x, "prompt": self.prompt, "xl_prompt": self.xl_prompt, "pooled": self.pooled, "ids": self.ids.float(),
                         "time_ids": self.time_ids[0]}

    def sd1(self, name, unet, text=None):
        self.expected[f"{name}.unet"] = unet(self.x, 321.5, self.prompt).sample
        if text is not None:
            self.expected[f"{name}.text"] = text(self.ids).last_hidden_state

    def sdxl(self, name, unet):
        added = {"text_embeds": self.pooled, "time_ids": self.time_ids}
        self.expected[f"{name}.unet"] = unet(self.x, 321.5, self.xl_prompt, added_cond_kwargs=added).sample


def fresh():
    text = CLIPTextModel.from_pretrained(SD1 / "text_encoder").eval()
    unet = UNet2DConditionModel.from_pretrained(SD1 / "unet").eval()
    vae = AutoencoderKL.from_pretrained(SD1 / "vae")
    return StableDiffusionPipeline(vae, text, None, unet, DDIMScheduler(), None, None, requires_safety_checker=False)


def randomise_lora(net):
    for name, p in sorted(net.named_parameters()):
        if ".lora_" in name or ".hada_" in name or ".lokr_" in name:
            p.data = half(0.5 * draw(*p.shape) / p[0].numel() ** 0.5).float()


def main():
    torch.set_grad_enabled(False)
    runs = Runs()
    pipe = fresh()
    runs.sd1("none", pipe.unet, pipe.text_encoder)

    # Kohya's names, attention and text, at a strength for each.
    te = {f"text_model.{n.removeprefix('text_model.')}": m for n, m in layers(pipe.text_encoder, TEXT).items()}
    file = kohya(pipe.unet, ATTENTION, "lora_unet_", 3, 2)
    for name, module in te.items():
        key = "lora_te_" + name.replace(".", "_")
        file[f"{key}.lora_down.weight"], file[f"{key}.lora_up.weight"] = factors(module, 2)
        file[f"{key}.alpha"] = torch.tensor(1.0).half()
    save_file(file, HERE / "kohya.safetensors", {"ss_base_model_version": "sd_v1"})
    pipe.load_lora_weights(HERE / "kohya.safetensors", adapter_name="kohya")
    pipe.set_adapters("kohya", {"unet": 0.8, "text_encoder": 0.5})
    runs.sd1("kohya", pipe.unet, pipe.text_encoder)

    # Convolutions too, and both together.
    save_file(kohya(fresh().unet, CONVS, "lora_unet_", 2, 2), HERE / "conv.safetensors")
    pipe.load_lora_weights(HERE / "conv.safetensors", adapter_name="conv")
    pipe.set_adapters(["kohya", "conv"], [0.0, 1.0])
    runs.sd1("conv", pipe.unet)
    pipe.set_adapters(["kohya", "conv"], [{"unet": 0.7, "text_encoder": 0.3}, {"unet": -0.4}])
    runs.sd1("both", pipe.unet, pipe.text_encoder)

    # diffusers' own names, with alpha in the header.
    pipe = fresh()
    config = lambda targets: LoraConfig(r=3, lora_alpha=6, target_modules=targets, alpha_pattern={"to_k": 2})
    pipe.unet.add_adapter(config(ATTENTION + ["conv1"]))
    pipe.text_encoder.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=TEXT))
    randomise_lora(pipe.unet), randomise_lora(pipe.text_encoder)
    runs.sd1("diffusers", pipe.unet, pipe.text_encoder)
    meta = {f"unet.{k}": v for k, v in {"r": 3, "lora_alpha": 6, "alpha_pattern": {"to_k": 2}}.items()}
    meta |= {"text_encoder.r": 2, "text_encoder.lora_alpha": 3}
    state = {f"unet.{k}": half(v) for k, v in get_peft_model_state_dict(pipe.unet).items()}
    state |= {f"text_encoder.{k}": half(v) for k, v in get_peft_model_state_dict(pipe.text_encoder).items()}
    save_file(state, HERE / "diffusers.safetensors", {"format": "pt", "lora_adapter_metadata": json.dumps(meta)})

    # Its old names.
    pipe = fresh()
    old = {}
    for name, module in layers(pipe.unet, ["to_q", "to_k", "to_v", "to_out.0"]).items():
        parent, leaf = name.rsplit(".attn", 1)[0], name.rsplit(".attn", 1)[1]
        number, layer = leaf.split(".", 1)
        key = f"unet.{parent}.attn{number}.processor.{layer.removesuffix('.0')}_lora"
        old[f"{key}.down.weight"], old[f"{key}.up.weight"] = factors(module, 3)
    save_file(old, HERE / "old.safetensors")
    pipe.load_lora_weights(HERE / "old.safetensors")
    runs.sd1("old", pipe.unet)

    # PEFT's folder.
    shutil.rmtree(HERE / "peft", ignore_errors=True)
    unet = get_peft_model(fresh().unet, LoraConfig(r=4, lora_alpha=3, use_rslora=True, alpha_pattern={"attn2.to_v": 5}, target_modules=ATTENTION[:6]))
    randomise_lora(unet)
    runs.sd1("peft", unet.eval())
    unet.save_pretrained(HERE / "peft")
    (HERE / "peft" / "README.md").unlink(missing_ok=True)

    # LoCon with a middle: the weights of a convolution are up x middle x down.
    unet = fresh().unet
    mid = {}
    for name, module in layers(unet, ["conv1", "downsamplers.0.conv"]).items():
        key, (outputs, inputs) = "lora_unet_" + name.replace(".", "_"), module.weight.shape[:2]
        down, middle, up = half(draw(2, inputs, 1, 1) / inputs**0.5), half(draw(2, 2, 3, 3) / 4), half(draw(outputs, 2, 1, 1))
        mid |= {f"{key}.lora_down.weight": down, f"{key}.lora_mid.weight": middle, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        delta = torch.einsum("or,rshw,si->oihw", up[:, :, 0, 0].float(), middle.float(), down[:, :, 0, 0].float())
        module.weight += 0.5 * 0.9 * delta
    save_file(mid, HERE / "mid.safetensors")
    runs.sd1("mid", unet)

    # LoHa and LoKr.
    for kind, config in (("loha", LoHaConfig(r=2, alpha=3, target_modules=["to_q", "proj_in", "conv2"])),
                         ("lokr", LoKrConfig(r=1, alpha=3, target_modules=["to_q", "proj_in", "conv2"], decompose_factor=2))):
        unet = get_peft_model(fresh().unet, config)
        randomise_lora(unet)
        runs.sd1(kind, unet.eval())
        file = {}
        for key, value in get_peft_model_state_dict(unet).items():
            module, part = key.removeprefix("base_model.model.").rsplit(".", 1)
            module = "lora_unet_" + module.replace(".", "_")
            file[f"{module}.{part}"], file[f"{module}.alpha"] = half(value), torch.tensor(3.0)
        save_file(file, HERE / f"{kind}.safetensors")

    # SDXL under the names of the original code.
    unet = UNet2DConditionModel.from_pretrained(SDXL).eval()
    runs.sdxl("xl_none", unet)
    file = kohya(unet, ATTENTION + CONVS, "lora_unet_", 2, 1, sgm)
    save_file(file, HERE / "sgm.safetensors")
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(file), unet_config=unet.config)
    StableDiffusionXLPipeline.load_lora_into_unet(state, alphas, unet)
    unet.set_adapters([next(iter(unet.peft_config))], [1.5])
    runs.sdxl("sgm", unet)
    save_file({k: v.contiguous().float() for k, v in runs.expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
