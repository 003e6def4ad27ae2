"""Makes the numbers that tests/golden_words.rs compares with: prompts with learned words, read by diffusers and transformers.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors numpy
    python tests/golden/words/make.py

The model is tests/golden/diffusion/sd1, the words are those of tests/golden/pickle.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
SD1, WORDS = HERE.parent / "diffusion" / "sd1", HERE.parent / "pickle"


def main():
    torch.set_grad_enabled(False)
    text = CLIPTextModel.from_pretrained(SD1 / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(SD1 / "tokenizer")
    parts = (AutoencoderKL.from_pretrained(SD1 / "vae"), text, tokenizer, UNet2DConditionModel.from_pretrained(SD1 / "unet"), DDIMScheduler())
    pipe = StableDiffusionPipeline(*parts, None, None, requires_safety_checker=False)
    pipe.load_textual_inversion(str(WORDS / "diffusers.safetensors"))
    pipe.load_textual_inversion(str(WORDS / "a1111_plain.pt"), token="mood")
    expected = {}
    for name, prompt in {"both": "a <cat-toy> cube, mood", "one": "red mood", "none": "a red cube"}.items():
        ids = tokenizer(pipe.maybe_convert_prompt(prompt, tokenizer), padding="max_length", max_length=16, return_tensors="pt").input_ids
        expected[name] = text(ids).last_hidden_state
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
