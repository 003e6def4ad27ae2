"""Trains the CLIP (transformers' CLIPModel) contrastively, with two more losses over the names of all things: one on the
whole picture (if it shows one kind of thing) and one on every patch (by the label map). A third of the batches has 256-pixel
pictures with interpolated position embeddings, so that the lens can look twice as closely."""

import argparse
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from world import CLASS_TEMPLATES, NAMES, World, work_folder

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
PATCH = 16


def new_model(tokenizer) -> CLIPModel:
    shared = dict(hidden_size=192, intermediate_size=768, num_attention_heads=3, projection_dim=192, hidden_act="quick_gelu")
    end = tokenizer.eos_token_id
    text = dict(vocab_size=len(tokenizer), num_hidden_layers=4, max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end, **shared)
    vision = dict(num_hidden_layers=6, image_size=128, patch_size=PATCH, **shared)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=192))


def pixels_of(pictures):
    stacked = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).float().div(255)
    return (stacked - MEAN) / STD


def token_ids(tokenizer, texts):
    return tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt").input_ids


def encode_pictures(model, pixels):
    """Unit-norm embeddings of whole pictures (b, d) and of their patches (b, patches, d)."""
    out = model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True)
    whole = model.visual_projection(out.pooler_output)
    patches = model.visual_projection(model.vision_model.post_layernorm(out.last_hidden_state[:, 1:]))
    return F.normalize(whole.float(), dim=-1), F.normalize(patches.float(), dim=-1)


def encode_texts(model, ids):
    return F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output).float(), dim=-1)


def patch_targets(labels):
    """The thing that fills most of each patch, -100 where nothing clearly does."""
    n = labels.shape[0] // PATCH
    cells = labels.reshape(n, PATCH, n, PATCH).transpose(0, 2, 1, 3).reshape(n * n, -1)
    targets = np.full(n * n, -100)
    for i, cell in enumerate(cells):
        counts = np.bincount(cell)
        top = counts.argmax()
        if top > 0 and counts[top] > 0.5 * cell.size:
            targets[i] = top - 1
    return targets


def batch(world, r, size):
    pictures, captions, targets, single = [], [], [], []
    for _ in range(size):
        picture, caption, labels, things = world.scene(r)
        pictures.append(picture)
        captions.append(caption)
        targets.append(patch_targets(labels))
        kinds = {name for name, _ in things}
        single.append(NAMES.index(things[0][0]) if len(kinds) == 1 else -100)
    return pixels_of(pictures), captions, torch.tensor(np.stack(targets)), torch.tensor(single)


@torch.no_grad()
def evaluate(model, tokenizer, world, count=200):
    """Zero-shot accuracy on pictures of one thing, and how often the map's peak lies inside the named thing of a pair."""
    model.eval()
    r = random.Random(99)
    texts = encode_texts(model, token_ids(tokenizer, [f"a picture of a {name}" for name in NAMES]))
    right = hits = 0
    for _ in range(count):
        picture, _, _, things = world.scene(r, "one")
        whole, _ = encode_pictures(model, pixels_of([picture]))
        right += NAMES[(whole @ texts.T).argmax().item()] == things[0][0]
        picture, _, labels, things = world.scene(r, "pair")
        _, patches = encode_pictures(model, pixels_of([picture]))
        wanted = NAMES.index(things[0][0])
        peak, n = (patches[0] @ texts[wanted]).argmax().item(), picture.width // PATCH
        y, x = peak // n * PATCH, peak % n * PATCH
        hits += (labels[y : y + PATCH, x : x + PATCH] == wanted + 1).mean() > 0.25
    model.train()
    return right / count, hits / count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    r = random.Random(11)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    folder = args.work / "clip"
    model = CLIPModel.from_pretrained(folder) if (folder / "config.json").exists() else new_model(tokenizer)
    worlds = {128: World(args.work, 128), 256: World(args.work, 256)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.05, betas=(0.9, 0.98))
    start, saved, step = time.time(), time.time(), 0
    while (done := (time.time() - start) / 60 / args.minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 150) * (0.5 * (1 + np.cos(np.pi * done)) * 0.98 + 0.02)
        fine = step % 3 == 2
        size = args.batch // 3 if fine else args.batch
        pixels, captions, targets, single = batch(worlds[256 if fine else 128], r, size)
        template = r.choice(CLASS_TEMPLATES)
        with torch.autocast("cpu", torch.bfloat16):
            whole, patches = encode_pictures(model, pixels)
            texts = encode_texts(model, token_ids(tokenizer, captions))
            names = encode_texts(model, token_ids(tokenizer, [template.format(name) for name in NAMES]))
        scale = model.logit_scale.exp().clamp(max=100)
        # Equal captions are no negatives of each other.
        same = torch.tensor([[a == b for b in captions] for a in captions])
        target = same.float() / same.sum(1, keepdim=True)
        logits = scale * whole @ texts.T
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        on_picture = F.cross_entropy(scale * whole @ names.T, single, ignore_index=-100)
        on_patches = F.cross_entropy((scale * patches @ names.T).flatten(0, 1), targets.flatten(), ignore_index=-100)
        # Background patches must not look like any thing: their similarities are pushed below zero.
        empty = (patches @ names.T)[targets == -100].clamp(min=0).mean()
        loss = contrastive + on_picture + on_patches + 2 * empty
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(step, f"{time.time() - start:.0f} s, contrastive {contrastive.item():.3f}, picture {on_picture.item():.3f}, patches {on_patches.item():.3f}", flush=True)
        if step % 400 == 0:
            print("zero-shot, pointing 128:", evaluate(model, tokenizer, worlds[128]), "256:", evaluate(model, tokenizer, worlds[256], 60), flush=True)
        if time.time() - saved > 300:
            model.save_pretrained(folder)
            saved = time.time()
    print("final 128:", evaluate(model, tokenizer, worlds[128]), "256:", evaluate(model, tokenizer, worlds[256], 100), flush=True)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
