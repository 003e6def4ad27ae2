"""Makes the fixtures of tests/golden_clip_family.rs: tiny random CLIPs and SigLIPs as transformers and open_clip save them, and what
these compute with them.

    pip install torch transformers open_clip_torch safetensors pillow numpy sentencepiece protobuf
    python tests/golden/clip_family/make.py

Names of models: <who saved it>_<what is special>. Every one has other sizes than the others.
"""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer
from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

HERE = Path(__file__).parent
CLIP_TOKENIZER = HERE.parent / "clip/quick"
TEXTS = ["a red apple on a blue background", "", "It's ΑΩ, naïve 猫!  two\tspaces 123", "CATS & dogs (very:1.2)", " ▁ under_score  ", "apple " * 90]
expected = {}


def keep(name, tensor):
    expected[name] = tensor.detach().contiguous().clone()


def randomise(model, std=0.15):
    for parameter in model.parameters():
        if parameter.dim() > 0 and parameter.numel() > 1:
            torch.nn.init.normal_(parameter, std=std)
    # The weights are those of the file, at its precision.
    return model.half().float().eval()


def half(model, dtype=torch.float16):
    return {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}


def small_tokenizer(folder):
    """vocab.json and merges.txt with few merges: embeddings are most of a tiny model."""
    folder.mkdir(exist_ok=True)
    merges = [line for line in (CLIP_TOKENIZER / "merges.txt").read_text().split("\n") if line and not line.startswith("#")][:90]
    letters = list(bytes_to_unicode().values())
    tokens = letters + [c + "</w>" for c in letters] + ["".join(line.split()) for line in merges] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return merges


def pictures():
    random = np.random.default_rng(1)
    rows = np.arange(57)[:, None, None] * np.array([3, 5, 1]) + np.arange(90)[None, :, None] * np.array([2, 1, 4])
    return Image.fromarray(((rows * 5 + random.integers(0, 60, rows.shape)) % 256).astype(np.uint8))


PICTURE = pictures()


def pixels(height, width):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))


def similarity(name, image, texts, scale, bias=None):
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(texts, dim=-1).T + (0 if bias is None else bias)
    keep(f"{name}/logits", logits[0])
    keep(f"{name}/probabilities", (logits.softmax(-1) if bias is None else logits.sigmoid())[0])


def transformers_outputs(name, model, ids, sizes):
    """States of every layer, attention of every layer, embeddings; for a picture of the model's size and for another one."""
    with torch.no_grad():
        text = model.text_model(input_ids=ids, output_hidden_states=True, output_attentions=True)
        embeddings = model.text_projection(text.pooler_output) if hasattr(model, "text_projection") else text.pooler_output
        towers = [("text", text)]
        for size in sizes:
            x = pixels(*size)
            keep(f"{name}/pixels_{size[0]}x{size[1]}", x[0])
            seen = model.vision_model(pixel_values=x, interpolate_pos_encoding=True, output_hidden_states=True, output_attentions=True)
            whole = model.visual_projection(seen.pooler_output) if hasattr(model, "visual_projection") else seen.pooler_output
            keep(f"{name}/image_{size[0]}x{size[1]}", whole[0])
            towers.append((f"vision_{size[0]}x{size[1]}", seen))
            if size == sizes[0]:
                bias = getattr(model, "logit_bias", None)
                similarity(name, whole, embeddings, model.logit_scale.exp(), bias)
        keep(f"{name}/ids", ids.int())
        keep(f"{name}/text", embeddings)
        for tower, output in towers:
            for i, states in enumerate(output.hidden_states):
                keep(f"{name}/{tower}/states_{i}", states)
            for i, attention in enumerate(output.attentions if tower in ("text", f"vision_{sizes[0][0]}x{sizes[0][1]}") else ()):
                keep(f"{name}/{tower}/attention_{i}", attention)
        keep(f"{name}/text/last", text.last_hidden_state)


def siglip_patches(name, model, size):
    """What the head makes of each patch alone: of its last state, and of the last layer's value path."""
    with torch.no_grad():
        vision = model.vision_model
        seen = vision(pixel_values=pixels(*size), interpolate_pos_encoding=True, output_hidden_states=True)
        layer, before = vision.encoder.layers[-1], seen.hidden_states[-2]
        values = layer.self_attn.out_proj(layer.self_attn.v_proj(layer.layer_norm1(before)))
        for kind, states in (("patches", seen.hidden_states[-1]), ("values", values)):
            alone = vision.post_layernorm(states)[0][:, None]
            keep(f"{name}/{kind}", vision.head(alone))


def hf_clip():
    """bfloat16 in three files, erf gelu, towers of unlike widths."""
    folder = HERE / "hf_sharded"
    small_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for i, words in enumerate(TEXTS[:4]):
        keep(f"hf_sharded/ids_{i}", tokenizer(words, truncation=True, max_length=20, return_tensors="pt").input_ids[0].int())
    text = dict(hidden_size=30, intermediate_size=44, num_hidden_layers=3, num_attention_heads=3, hidden_act="gelu", vocab_size=len(tokenizer),
                max_position_embeddings=20, bos_token_id=tokenizer.bos_token_id, eos_token_id=2, pad_token_id=0)
    vision = dict(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5, hidden_act="gelu_new", image_size=28, patch_size=7)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=22))
    randomise(model)
    model = model.bfloat16()
    model.save_pretrained(folder, max_shard_size="50KB")
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, resample=2).save_pretrained(folder)
    model = model.float().eval()
    model.set_attn_implementation("eager")
    ids = tokenizer(["a red apple", "blue dogs!"], padding="max_length", max_length=12, return_tensors="pt").input_ids
    transformers_outputs("hf_sharded", model, ids, [(28, 28), (35, 42)])
    with torch.no_grad():
        embeddings = torch.randn(2, 9, 30, generator=torch.Generator().manual_seed(5))
        keep("hf_sharded/embeddings", embeddings)
        keep("hf_sharded/from_embeddings", from_embeddings(model.text_model, embeddings))
    processed = CLIPImageProcessorPil.from_pretrained(folder)(PICTURE, return_tensors="pt").pixel_values
    keep("hf_sharded/processed", processed[0])


def from_embeddings(tower, embeddings):
    positions = tower.embeddings.position_embedding.weight[: embeddings.shape[1]]
    mask = torch.full((embeddings.shape[1],) * 2, float("-inf")).triu(1)[None, None]
    states = embeddings + positions
    for layer in tower.encoder.layers:
        output = layer(states, attention_mask=mask)
        states = output[0] if isinstance(output, tuple) else output
    return tower.final_layer_norm(states)


def hf_text():
    """A text tower alone, as SDXL's second: transformers' names of today, float64 for once."""
    config = CLIPTextConfig(hidden_size=16, intermediate_size=30, num_hidden_layers=2, num_attention_heads=2, hidden_act="gelu", vocab_size=60,
                            max_position_embeddings=11, projection_dim=14, bos_token_id=57, eos_token_id=58, pad_token_id=0)
    model = randomise(CLIPTextModelWithProjection(config))
    folder = HERE / "hf_text"
    model.double().save_pretrained(folder)
    model = model.float()
    ids = torch.tensor([[57, 3, 9, 4, 58, 0, 0, 0], [57, 59, 1, 58, 58, 2, 0, 0]])
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    keep("hf_text/ids", ids.int())
    keep("hf_text/text", out.text_embeds)
    keep("hf_text/last", out.last_hidden_state)


def siglip():
    """SigLIP with its SentencePiece tokenizer."""
    import sentencepiece

    folder = HERE / "siglip"
    folder.mkdir(exist_ok=True)
    words = ["red", "blue", "apple", "dog", "cat", "background", "on", "a", "naïve", "two", "spaces", "very", "under", "score", "its", "αω"]
    lines = [" ".join(np.random.default_rng(i).choice(words, 7)) for i in range(400)]
    (folder / "corpus.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(input=str(folder / "corpus.txt"), model_prefix=str(folder / "spiece"), vocab_size=150, model_type="unigram", normalization_rule_name="identity",
        pad_id=-1, bos_id=-1, eos_id=1, unk_id=2, control_symbols=["<c0>"], hard_vocab_limit=False, character_coverage=0.99, minloglevel=2)
    slow = SiglipTokenizer(str(folder / "spiece.model"))
    # As the published tokenizer.json was made: SentencePiece's own pieces and normalisation, an end token behind.
    from transformers.convert_slow_tokenizer import SpmConverter

    class Converter(SpmConverter):
        def vocab(self, proto):
            return [(piece.piece, piece.score) for piece in proto.pieces]

        def unk_id(self, proto):
            return proto.trainer_spec.unk_id

        def post_processor(self):
            return processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])

    fast = Converter(slow).converted()
    fast.enable_truncation(16)
    fast.enable_padding(length=16, pad_id=1, pad_token="</s>")
    fast.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "model_max_length": 16, "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}))
    for i, words in enumerate(TEXTS):
        keep(f"siglip/ids_{i}", slow(words, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids[0].int())
    for file in ("corpus.txt", "spiece.model", "spiece.vocab"):
        (folder / file).unlink()
    text = dict(hidden_size=24, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, vocab_size=150, max_position_embeddings=16)
    vision = dict(hidden_size=24, intermediate_size=44, num_hidden_layers=3, num_attention_heads=3, image_size=31, patch_size=6)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    randomise(model)
    model.logit_scale.data.fill_(1.4)
    model.logit_bias.data.fill_(-1.75)
    model.half().save_pretrained(folder)
    model = model.float()
    model.set_attn_implementation("eager")
    SiglipImageProcessor(size={"height": 31, "width": 31}).save_pretrained(folder)
    ids = torch.stack([expected["siglip/ids_0"], expected["siglip/ids_3"]]).long()
    transformers_outputs("siglip", model, ids, [(31, 31), (18, 42)])
    siglip_patches("siglip", model, (18, 42))
    processed = SiglipImageProcessorPil.from_pretrained(folder)(PICTURE, return_tensors="pt").pixel_values
    keep("siglip/processed", processed[0])


def siglip2():
    """SigLIP 2 of fixed resolution: Gemma's kind of tokenizer, a projection of another width."""
    folder = HERE / "siglip2"
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special + [f"<0x{i:02X}>" for i in range(256)])
    tokenizer.train_from_iterator(["a red apple on a blue background", "cats and dogs, very naïve dogs", "two spaces under score"] * 9, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "<eos>"], special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    # What transformers' own class does with it: lower case first.
    data = json.loads(tokenizer.to_str())
    reference = Siglip2Tokenizer(vocab=data["model"]["vocab"], merges=[tuple(m) for m in data["model"]["merges"]])
    for i, words in enumerate(TEXTS):
        ids = reference(words, add_special_tokens=False).input_ids[:13] + [1]
        expected[f"siglip2/ids_{i}"] = torch.tensor(ids + [0] * (14 - len(ids)), dtype=torch.int32)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "model_max_length": 64}))
    text = dict(hidden_size=20, intermediate_size=28, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(data["model"]["vocab"]), max_position_embeddings=14, projection_size=30)
    vision = dict(hidden_size=30, intermediate_size=41, num_hidden_layers=1, num_attention_heads=5, image_size=24, patch_size=8)
    model = randomise(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))
    model.logit_scale.data.fill_(2.0)
    model.logit_bias.data.fill_(-3.0)
    model.half().save_pretrained(folder)
    model = model.float()
    model.set_attn_implementation("eager")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "SiglipImageProcessor", "size": {"height": 24, "width": 24}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_rescale": True, "rescale_factor": 0.00392156862745098}))
    ids = torch.stack([expected["siglip2/ids_0"], expected["siglip2/ids_2"]]).long()
    transformers_outputs("siglip2", model, ids, [(24, 24)])
    processed = SiglipImageProcessorPil.from_pretrained(folder)(PICTURE, return_tensors="pt").pixel_values
    keep("siglip2/processed", processed[0])


def open_clip_model(name, config, custom, tokenizer, preprocess, dtype):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = randomise(kind(**config))
    model.logit_scale.data.fill_(1.3)
    if "init_logit_bias" in config:
        model.logit_bias.data.fill_(-2.5)
    model = model.to(dtype).float()
    save_file(half(model, dtype), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=1))
    length = config["text_cfg"]["context_length"]
    ids = tokenizer([TEXTS[0], TEXTS[5]], length)
    size = config["vision_cfg"]["image_size"]
    x = pixels(size, size)
    with torch.no_grad():
        text, image = model.encode_text(ids), model.encode_image(x)
        keep(f"{name}/ids", ids.int())
        keep(f"{name}/pixels_{size}x{size}", x[0])
        keep(f"{name}/text", text)
        keep(f"{name}/image_{size}x{size}", image[0])
        similarity(name, image, text, model.logit_scale.exp(), getattr(model, "logit_bias", None))
        states = model.visual.forward_intermediates(x, intermediates_only=True, normalize_intermediates=False, output_fmt="NLC", output_extra_tokens=True)
        for i, (patches, extra) in enumerate(zip(states["image_intermediates"], states["image_intermediates_prefix"])):
            keep(f"{name}/vision_{size}x{size}/states_{i + 1}", torch.cat([extra, patches], 1))
    transform = open_clip.image_transform(size, is_train=False, **{k: v for k, v in preprocess.items() if k in ("mean", "std", "interpolation", "resize_mode")})
    keep(f"{name}/processed", transform(PICTURE))
    return model


def open_clip_models():
    import gzip

    folder = HERE / "open_clip_plain"
    merges = small_tokenizer(HERE / "open_clip_custom")
    folder.mkdir(exist_ok=True)
    bpe = folder / "bpe_simple_vocab_16e6.txt.gz"
    bpe.write_bytes(gzip.compress(('"bpe_simple_vocab_16e6.txt#version: 0.2\n' + "\n".join(merges)).encode(), mtime=0))
    simple = SimpleTokenizer(str(bpe))
    for i, words in enumerate(TEXTS[:4]):
        keep(f"open_clip_plain/ids_{i}", simple([words], 18)[0].int())
    config = dict(embed_dim=26, vision_cfg=dict(image_size=30, layers=2, width=36, head_width=12, patch_size=10, mlp_ratio=1.5),
                  text_cfg=dict(context_length=18, vocab_size=simple.vocab_size, width=24, heads=2, layers=2))
    open_clip_model("open_clip_plain", config, False, simple, dict(mean=[0.48, 0.45, 0.4], std=[0.27, 0.26, 0.28], interpolation="bicubic", resize_mode="shortest"), torch.float16)
    quick = dict(embed_dim=20, quick_gelu=True, custom_text=True, init_logit_bias=-2.5, vision_cfg=dict(image_size=24, layers=2, width=24, head_width=8, patch_size=8, no_ln_pre=True),
                 text_cfg=dict(context_length=15, vocab_size=simple.vocab_size, width=24, heads=3, layers=2, proj_bias=True, no_causal_mask=True, pool_type="last", norm_kwargs=dict(eps=1e-6)))
    open_clip_model("open_clip_custom", {k: v for k, v in quick.items() if k != "custom_text"}, True, simple, dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bilinear", resize_mode="squash"), torch.bfloat16)


def open_clip_siglip(ids):
    """SigLIP as open_clip has it: timm's vision tower. Names decide sizes there, so a small one is put in a large one's place."""
    import timm

    name, folder = "open_clip_siglip", HERE / "open_clip_siglip"
    folder.mkdir(exist_ok=True)
    vision = dict(image_size=32, timm_model_name="vit_base_patch16_siglip_224", timm_model_pretrained=False, timm_pool="map", timm_proj="none")
    text = dict(context_length=16, vocab_size=150, width=24, heads=2, layers=1, no_causal_mask=True, proj_bias=True, pool_type="last", norm_kwargs=dict(eps=1e-6))
    config = dict(embed_dim=24, init_logit_bias=-10, custom_text=True, vision_cfg=vision, text_cfg=text)
    create = timm.create_model
    timm.create_model = lambda name, **rest: create(name, **{**rest, "embed_dim": 24, "depth": 2, "patch_size": 8, "mlp_ratio": 1.5, "img_size": 32})
    model = open_clip.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
    timm.create_model = create
    randomise(model)
    model.logit_scale.data.fill_(1.3)
    model.logit_bias.data.fill_(-2.5)
    model = model.half().float()
    save_file(half(model), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash")}, indent=1))
    x = pixels(32, 32)
    with torch.no_grad():
        text, image = model.encode_text(ids), model.encode_image(x)
        keep(f"{name}/ids", ids.int())
        keep(f"{name}/pixels_32x32", x[0])
        keep(f"{name}/text", text)
        keep(f"{name}/image_32x32", image[0])
        similarity(name, image, text, model.logit_scale.exp(), model.logit_bias)
        for i, states in enumerate(model.visual.trunk.forward_intermediates(x, intermediates_only=True, output_fmt="NLC")):
            keep(f"{name}/vision_32x32/states_{i + 1}", states)


def resampling():
    # With Pillow 13 or later, which takes heights first where that is faster.
    small = PICTURE.crop((0, 0, 41, 33))
    for number, name in ((0, "nearest"), (1, "lanczos"), (2, "bilinear"), (4, "box"), (5, "hamming")):
        for width, height in ((17, 20), (50, 9)):
            keep(f"resample/{name}_{width}x{height}", torch.from_numpy(np.array(small.resize((width, height), number))))


def main():
    torch.manual_seed(0)
    PICTURE.save(HERE / "picture.png")
    hf_clip()
    hf_text()
    siglip()
    siglip2()
    open_clip_models()
    open_clip_siglip(torch.stack([expected["siglip/ids_0"], expected["siglip/ids_3"]]).long())
    resampling()
    save_file(expected, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
