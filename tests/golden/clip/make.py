"""Makes the fixtures of tests/golden_clip.rs: tiny random CLIPs and what transformers and Pillow compute with them.

    pip install torch transformers safetensors pillow numpy
    python tests/golden/clip/make.py
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

HERE = Path(__file__).parent
TOKENIZER = HERE.parents[2] / "assets/models/clip"
TEXTS = ["a red apple on a blue background", "", "It's ΑΩ, naïve 猫!  two\tspaces 123", "CATS & dogs (very:1.2)"]


def main():
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    end = tokenizer.eos_token_id
    rows = np.arange(45)[:, None, None] * np.array([3, 5, 1]) + np.arange(70)[None, :, None] * np.array([2, 1, 4])
    picture = Image.fromarray(((rows * 7 + np.random.default_rng(0).integers(0, 60, rows.shape)) % 256).astype(np.uint8))
    picture.save(HERE / "picture.png")
    expected = {}
    for size in ((31, 20), (140, 90), (32, 96)):
        expected[f"resized_{size[0]}x{size[1]}"] = torch.from_numpy(np.array(picture.resize(size, Image.BICUBIC)))
    for name, activation in (("quick", "quick_gelu"), ("erf", "gelu")):
        shared = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, projection_dim=24, hidden_act=activation)
        text = dict(vocab_size=len(tokenizer), max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end, **shared)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(image_size=32, patch_size=8, **shared), projection_dim=24)).eval()
        for parameter in model.parameters():
            # Larger than the usual start, so that errors show.
            torch.nn.init.normal_(parameter, std=0.2) if parameter.dim() > 0 else None
        folder = HERE / name
        model.half().float().save_pretrained(folder)
        save_file({k: v.half().contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}, folder / "model.safetensors")
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "image_mean": processor.image_mean, "image_std": processor.image_std}))
        for file in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(TOKENIZER / file, folder / file)
        with torch.no_grad():
            for i, words in enumerate(TEXTS):
                ids = tokenizer(words, truncation=True, max_length=77, return_tensors="pt").input_ids
                expected[f"ids_{i}"] = ids[0].int()
                pooled = model.text_model(input_ids=ids).pooler_output
                expected[f"{name}_text_{i}"] = F.normalize(model.text_projection(pooled), dim=-1)[0]
            # transformers' own resizing differs with its version; what Pillow gives is the reference.
            width = 32 * picture.width // picture.height
            resized = np.array(picture.resize((width, 32), Image.BICUBIC))
            left = (width - 32) // 2
            mean, std = torch.tensor(processor.image_mean).view(3, 1, 1), torch.tensor(processor.image_std).view(3, 1, 1)
            tensor = lambda pixels: ((torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255 - mean) / std)[None]
            seen = model.vision_model(pixel_values=tensor(resized[:, left : left + 32]))
            expected[f"{name}_image"] = F.normalize(model.visual_projection(seen.pooler_output), dim=-1)[0]
            # As the lens: twice the side, all of the picture, whole patches: 45x70 becomes 48x80.
            lens = np.array(picture.resize((80, 48), Image.BICUBIC))
            seen = model.vision_model(pixel_values=tensor(lens), interpolate_pos_encoding=True, output_hidden_states=True)
            patches = model.visual_projection(model.vision_model.post_layernorm(seen.last_hidden_state[:, 1:]))
            expected[f"{name}_patches"] = F.normalize(patches, dim=-1)[0]
            layer, before = model.vision_model.encoder.layers[-1], seen.hidden_states[-2]
            values = layer.self_attn.out_proj(layer.self_attn.v_proj(layer.layer_norm1(before)))
            values = model.visual_projection(model.vision_model.post_layernorm(values[:, 1:]))
            expected[f"{name}_values"] = F.normalize(values, dim=-1)[0]
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
