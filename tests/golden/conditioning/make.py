"""Makes the numbers that tests/golden_conditioning.rs compares with: whole tiny pipelines of diffusers, and prompts with weights.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 compel==2.5.1 safetensors numpy
    python tests/golden/conditioning/make.py

Weights are rounded to 16 bits before anything is computed. Writes beside itself: xl (SDXL), refiner (SDXL's), two (Stable Diffusion 2),
lcm (a distilled model), expected.safetensors, prompts.json and composed.json. What A1111 and ComfyUI do with long and weighted prompts is
written down here anew from the description of their behaviour; Compel is asked itself.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "diffusion"))
from make import BASE, randomised, write_tokenizer  # noqa: E402

LENGTH = 32
CHUNK = LENGTH - 2
BACK_TRACK = 20
PROMPT, NEGATIVE = "a red cube, blue", "blurry"
UNET = dict(
    sample_size=8, in_channels=4, out_channels=4, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
)
XL_UNET = dict(
    UNET, cross_attention_dim=20, attention_head_dim=(1, 2), transformer_layers_per_block=(1, 2), use_linear_projection=True,
    addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 10,
)


def tokenizer(scratch, pad):
    """A CLIP tokenizer of 32 tokens whose padding is `pad`."""
    vocabulary = write_tokenizer(scratch)
    made = CLIPTokenizer.from_pretrained(scratch, model_max_length=LENGTH, pad_token=pad)
    assert made.pad_token_id == vocabulary[pad] and made.model_max_length == LENGTH
    return made, vocabulary


def text_tower(kind, vocabulary, seed, width, act, layers, eos=None, **more):
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=LENGTH, hidden_act=act, bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"] if eos is None else eos, **more,
    )
    return randomised(kind(config), seed)


def vae(seed):
    return randomised(AutoencoderKL(
        block_out_channels=(4, 4), layers_per_block=1, latent_channels=4, norm_num_groups=2, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2), seed)


def save(pipe, name, borrowed=()):
    """`borrowed` parts are those of other models and are not written again."""
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(HERE / name, safe_serialization=True)
    for part in borrowed:
        shutil.rmtree(HERE / name / part)
    for file in (HERE / name).rglob("*.safetensors"):
        save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()}, file)


def pipelines(scratch):
    ends, vocabulary = tokenizer(scratch, "<|endoftext|>")
    marks, _ = tokenizer(scratch, "!")
    alone = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    euler = EulerDiscreteScheduler.from_config(dict(BASE, timestep_spacing="leading", steps_offset=1))
    first = text_tower(CLIPTextModel, vocabulary, 21, 8, "quick_gelu", 3)
    second = text_tower(CLIPTextModelWithProjection, vocabulary, 22, 12, "gelu", 4, eos=2, projection_dim=10)
    xl = StableDiffusionXLPipeline(
        vae=vae(23), text_encoder=first, text_encoder_2=second, tokenizer=ends, tokenizer_2=marks,
        unet=randomised(UNet2DConditionModel(**XL_UNET), 24), scheduler=euler, force_zeros_for_empty_prompt=True, add_watermarker=False)
    save(xl, "xl")
    refined = dict(XL_UNET, cross_attention_dim=12, projection_class_embeddings_input_dim=5 * 4 + 10)
    trailing = EulerDiscreteScheduler.from_config(dict(BASE, timestep_spacing="trailing"))
    refiner = StableDiffusionXLImg2ImgPipeline(
        vae=xl.vae, text_encoder=None, text_encoder_2=second, tokenizer=None, tokenizer_2=marks,
        unet=randomised(UNet2DConditionModel(**refined), 26), scheduler=trailing, requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False, add_watermarker=False)
    save(refiner, "refiner", ["vae", "text_encoder_2", "tokenizer_2"])
    v = DDIMScheduler.from_config(dict(
        BASE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading"))
    two = StableDiffusionPipeline(
        vae=xl.vae, text_encoder=text_tower(CLIPTextModel, vocabulary, 28, 12, "gelu", 3), tokenizer=marks,
        unet=randomised(UNet2DConditionModel(**dict(UNET, cross_attention_dim=12, attention_head_dim=(1, 2), use_linear_projection=True)), 29),
        scheduler=v, **alone)
    save(two, "two", ["vae", "tokenizer"])
    lcm = LatentConsistencyModelPipeline(
        vae=xl.vae, text_encoder=two.text_encoder, tokenizer=marks,
        unet=UNet2DConditionModel.from_pretrained(HERE.parent / "nets/lcm"),
        scheduler=LCMScheduler.from_config(dict(BASE, clip_sample=False, set_alpha_to_one=True)), **alone)
    save(lcm, "lcm", ["vae", "tokenizer", "text_encoder", "unet"])
    return xl, refiner, two, lcm


def pictures(xl, refiner, two, lcm, expected):
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(40))
    expected["noise"] = noise
    common = dict(prompt=PROMPT, height=16, width=16, output_type="latent")

    def make(name, pipe, **more):
        seeded = torch.Generator().manual_seed(3)
        given = {} if pipe is refiner else {"latents": noise.clone()}
        expected[f"picture.{name}"] = pipe(**(common | given | more), generator=seeded).images

    make("xl.none", xl, num_inference_steps=8, guidance_scale=5.0)
    make("xl.negative", xl, num_inference_steps=8, guidance_scale=5.0, negative_prompt=NEGATIVE)
    make("xl.rescale", xl, num_inference_steps=8, guidance_scale=5.0, negative_prompt=NEGATIVE, guidance_rescale=0.7)
    make("xl.turbo", xl, num_inference_steps=2, guidance_scale=0.0)
    # Wide: height and width must not be confused.
    wide = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(41))
    expected["noise.wide"] = wide
    make("xl.wide", xl, num_inference_steps=8, guidance_scale=5.0, negative_prompt=NEGATIVE, width=24, latents=wide)
    make("two.none", two, num_inference_steps=8, guidance_scale=5.0)
    make("two.negative", two, num_inference_steps=8, guidance_scale=5.0, negative_prompt=NEGATIVE)
    for steps, scale in ((4, 8.5), (8, 8.5), (4, 1.0)):
        make(f"lcm.{steps}.{scale}", lcm, num_inference_steps=steps, guidance_scale=scale)
    # A refiner starts from a picture, whose trace stays in the noise even at full strength.
    grey = refiner.vae.encode(torch.full((1, 3, 16, 16), 128 / 255 * 2 - 1)).latent_dist.mode()
    start = dict(image=grey * refiner.vae.config.scaling_factor, strength=1.0, num_inference_steps=8, guidance_scale=5.0)
    del common["height"], common["width"]
    make("refiner.none", refiner, **start)
    make("refiner.negative", refiner, **start, negative_prompt=NEGATIVE)
    # diffusers skips no layer for negative prompts, so only the prompt is compared; for the first kind of models it calls what
    # transformers has renamed.
    for skip in (1, 2, 3):
        ids = two.tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
        states = two.text_encoder(ids, output_hidden_states=True).hidden_states[-skip]
        expected[f"skip.two.{skip}"] = two.text_encoder.final_layer_norm(states)
    for skip in (2, 3):
        states, _, pooled, _ = xl.encode_prompt(PROMPT, device="cpu", do_classifier_free_guidance=False, clip_skip=skip - 2)
        expected |= {f"skip.xl.{skip}": states, f"skip.xl.{skip}.pooled": pooled}


class Tower:
    """A text tower, one chunk at a time."""

    def __init__(self, tokenizer, encoder, is_penultimate):
        self.tokenizer, self.encoder, self.is_penultimate = tokenizer, encoder, is_penultimate

    def words(self, text):
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def framed(self, ids):
        framed = [self.tokenizer.bos_token_id, *ids, self.tokenizer.eos_token_id]
        return framed + [self.tokenizer.pad_token_id] * (LENGTH - len(framed))

    def states(self, ids):
        out = self.encoder(torch.tensor([self.framed(ids)]), output_hidden_states=True)
        return out.hidden_states[-2] if self.is_penultimate else out.last_hidden_state

    def pooled(self, ids):
        return self.encoder(torch.tensor([self.framed(ids)])).text_embeds


def chunked(tower, fragments):
    """Lists of (token, weight): 30 a chunk, broken after a comma among its last 20."""
    comma = tower.tokenizer.convert_tokens_to_ids(",</w>")
    stream = []
    for text, weight in fragments:
        stream += [None] if (text, weight) == ("BREAK", -1) else [(token, weight) for token in tower.words(text)]
    chunks, start = [], 0
    while start < len(stream):
        upto = stream.index(None, start) if None in stream[start:] else len(stream)
        if upto - start <= CHUNK:
            chunks.append(stream[start:upto])
            start = upto + 1
            continue
        end = start + CHUNK
        if stream[end][0] != comma:
            commas = [at for at in range(start, end) if stream[at][0] == comma and end - at <= BACK_TRACK]
            end = commas[-1] + 1 if commas else end
        chunks.append(stream[start:end])
        start = end
    return chunks or [[]]


def applied(tower, chunk, kind):
    z = tower.states([token for token, _ in chunk])
    w = torch.ones(1, LENGTH, 1)
    for at, (_, weight) in enumerate(chunk):
        w[0, at + 1] = weight
    if kind == "a1111":
        return z * w * (z.mean() / (z * w).mean())
    if kind == "a1111-no-norm":
        return z * w
    if kind == "comfyui":
        empty = tower.states([])
        return empty + w * (z - empty)
    return z


LONG = "a red cube, blue and red with a cube, on red cube blue, abc"
PROMPTS = {
    "plain": [("a red cube", 1.0)],
    "up": [("a ", 1.0), ("red", 1.3), (" cube, blue", 1.0)],
    "down": [("a ", 1.0), ("red", 0.6), (" cube, blue", 1.0)],
    "mixed": [("a red", 1.21), (" cube", 0.8), (", ", 1.0), ("blurry", 0.3)],
    "long": [(LONG, 1.0)],
    "long weighted": [("a red cube, blue", 1.0), (" and red with a cube", 1.4), (", on red cube blue, abc", 0.7)],
    "break": [("a red", 1.1), ("BREAK", -1), ("cube", 1.0)],
    "no comma": [("abcdefghijklmnopqrstuvwxyzabcdefghijkl", 1.2)],
    "empty": [("", 1.0)],
}


def prompts(xl, two, expected):
    towers = {
        "two": [Tower(two.tokenizer, two.text_encoder, False)],
        "xl": [Tower(xl.tokenizer, xl.text_encoder, True), Tower(xl.tokenizer_2, xl.text_encoder_2, True)],
    }
    cases = []
    for model, pair in towers.items():
        for name, fragments in PROMPTS.items():
            if model == "xl" and name not in ("mixed", "long weighted", "break"):
                continue
            for kind in ("a1111", "a1111-no-norm", "comfyui") if len(fragments) > 1 else ("a1111",):
                key = f"prompt.{len(cases)}"
                parts = [torch.cat([applied(tower, chunk, kind) for chunk in chunked(tower, fragments)], 1) for tower in pair]
                expected[key] = torch.cat(parts, 2)
                if model == "xl":
                    expected[f"{key}.pooled"] = pair[1].pooled([token for token, _ in chunked(pair[1], fragments)[0]])
                cases.append(dict(model=model, name=name, fragments=fragments, emphasis=kind, key=key,
                                  chunks=[len(chunk) for chunk in chunked(pair[0], fragments)]))
            if name in ("plain", "up", "down", "mixed", "empty"):
                key, texts, weights = f"prompt.{len(cases)}", [t for t, _ in fragments], [w for _, w in fragments]
                parts = []
                for tower in pair:
                    kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if tower.is_penultimate \
                        else ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
                    provider = EmbeddingsProvider(tower.tokenizer, tower.encoder, returned_embeddings_type=kind)
                    parts.append(provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights]))
                expected[key] = torch.cat(parts, 2)
                cases.append(dict(model=model, name=name, fragments=fragments, emphasis="compel", key=key))
    (HERE / "prompts.json").write_text(json.dumps(cases, indent=0))


def composed(pipe, noise, prompts, negatives, scale):
    """Eight steps: at each of them the sum over parts of weight * scale * (with - without), from what is without."""
    scheduler = pipe.scheduler
    scheduler.set_timesteps(8)
    latents = noise * scheduler.init_noise_sigma

    def read(text):
        if pipe.__class__ is StableDiffusionPipeline:
            return pipe.encode_prompt(text, "cpu", 1, False)[0], None
        states, _, pooled, _ = pipe.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
        return states, dict(text_embeds=pooled, time_ids=torch.tensor([[16.0, 16.0, 0.0, 0.0, 16.0, 16.0]]))

    for step, t in enumerate(scheduler.timesteps, 1):
        seen = scheduler.scale_model_input(latents, t)
        answer = lambda text: pipe.unet(seen, t, read(text)[0], added_cond_kwargs=read(text)[1]).sample
        without = answer(negatives(step))
        answers = [weight * scale * (answer(text) - without) for text, weight in prompts(step)]
        latents = scheduler.step(without + sum(answers), t, latents).prev_sample
    return latents


def compositions(xl, two, expected):
    blurry = lambda step: "blurry"
    cases = {
        "and": ("a red cube AND blue :0.6 AND abc:-0.3", lambda step: [("a red cube", 1.0), ("blue", 0.6), ("abc", -0.3)], "blurry", blurry),
        "weight": ("a red cube :1.5", lambda step: [("a red cube", 1.5)], "blurry", blurry),
        "later": ("a [red:blue:0.5] cube", lambda step: [("a red cube" if step <= 4 else "a blue cube", 1.0)], "blurry", blurry),
        "turns": ("a [red|blue] cube AND abc", lambda step: [(f"a {('red', 'blue')[(step - 1) % 2]} cube", 1.0), ("abc", 1.0)], "blurry", blurry),
        "negative": ("a red cube", lambda step: [("a red cube", 1.0)], "[blurry:red:3]", lambda step: "blurry" if step <= 3 else "red"),
    }
    written = []
    for name, pipe in (("xl", xl), ("two", two)):
        for case, (prompt, prompts, negative, negatives) in cases.items():
            if name == "xl" and case in ("weight", "later"):
                continue
            expected[f"composed.{name}.{case}"] = composed(pipe, expected["noise"], prompts, negatives, 3.0)
            written.append(dict(model=name, prompt=prompt, negative=negative, key=f"composed.{name}.{case}"))
    (HERE / "composed.json").write_text(json.dumps(written, indent=0))


def main():
    torch.set_grad_enabled(False)
    expected = {}
    with tempfile.TemporaryDirectory() as scratch:
        xl, refiner, two, lcm = pipelines(Path(scratch))
    pictures(xl, refiner, two, lcm, expected)
    prompts(xl, two, expected)
    compositions(xl, two, expected)
    save_file({k: v.contiguous().float() for k, v in expected.items()}, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
