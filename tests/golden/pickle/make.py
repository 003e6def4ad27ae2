"""Makes the pickled files and textual inversions that tests/pickles.rs reads, and the tensors that they hold.

    pip install torch==2.15.0 safetensors numpy pillow
    python tests/golden/pickle/make.py
"""

import base64
import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent


class Evil:
    """What a hostile file asks for."""

    def __reduce__(self):
        return os.system, ("touch maquette-was-here",)


def main():
    torch.manual_seed(4)
    shared = torch.randn(4, 6)
    tensors = {
        "f32": torch.randn(3, 5), "f16": torch.randn(7).half(), "bf16": torch.randn(2, 2, 2).bfloat16(), "f64": torch.randn(3).double(),
        "turned": torch.randn(5, 3).t(), "rows": shared[1:3], "all": shared, "number": torch.tensor(2.5), "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2, 3)), "ones": torch.randn(1, 4, 1).expand(1, 4, 1),
    }
    torch.save(tensors, HERE / "plain.pt")
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, HERE / "plain.safetensors")
    inner = OrderedDict(("net." + k, v) for k, v in tensors.items())
    inner._metadata = {"version": 1}
    state = {"epoch": 3, "global_step": 875000, "state_dict": inner, "loops": {"a": [1, (2, None)]}, "seen": np.float64(0.5),
             "optimizer_states": [{"x": torch.randn(2)}], "name": "a model"}
    torch.save(state, HERE / "nested.ckpt")
    torch.save({"x": Evil(), "good": torch.ones(2)}, HERE / "evil.pt")
    torch.save({"x": torch.randn(4, 4)[:, ::2]}, HERE / "scattered.pt")
    torch.save({"x": torch.ones(2)}, HERE / "legacy.pt", _use_new_zipfile_serialization=False)

    words = torch.randn(2, 16)
    save_file({"words": words, "other": torch.full((2, 24), 0.25)}, HERE / "words.safetensors")
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(words)}),
                "name": "mood", "step": 99, "sd_checkpoint": None}, HERE / "a1111.pt")
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": words}, "name": "mood"}, HERE / "a1111_plain.pt")
    save_file({"emb_params": words.half()}, HERE / "kohya.safetensors")
    torch.save({"<cat-toy>": words[0]}, HERE / "diffusers.bin")
    save_file({"<cat-toy>": words}, HERE / "diffusers.safetensors")
    save_file({"clip_l": words, "clip_g": torch.full((2, 24), 0.25)}, HERE / "sdxl.safetensors")
    data = {"string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": words.tolist()}}, "name": "mood"}
    about = PngInfo()
    about.add_text("sd-ti-embedding", base64.b64encode(json.dumps(data).encode()).decode())
    Image.new("RGB", (8, 8), (90, 40, 10)).save(HERE / "picture.png", pnginfo=about)


if __name__ == "__main__":
    main()
