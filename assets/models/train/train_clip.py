"""Trains the CLIP (transformers' CLIPModel) contrastively, with captions whose relation is reversed as further negatives.

More losses: of each picture of a relation, its caption against the reversed one, and what stands on which side, read by one linear
layer (which does not ship) from the embeddings of pictures and of captions alike, so that both have a place for it; over the names of
things on the whole picture (if it shows one kind of thing) and on every patch (by the
label map), and over the names of styles, backgrounds and effects on the whole picture. A third of the batches has 256-pixel
pictures with interpolated position embeddings, so that the lens can look twice as closely.
"""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageFilter
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from training import Training
from world import BACKGROUNDS, CLASS_TEMPLATES, COLOURS, EFFECTS, GENTLE_EFFECTS, HERE, INDEX, NAMES, PLACES, STYLES, World, with_article, work_folder

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
PATCH = 16
# Names that a step classifies among: those in the pictures and others by chance.
CANDIDATES = 192
# The part of each batch that shows a relation, beside those that come by chance.
RELATED = 0.25
# Captions of relations without a picture in each step: which word stands where is learnt from texts, and they cost little.
RELATED_TEXTS = 256


class Sides(torch.nn.Linear):
    """Reads from an embedding (n, d) which thing is at the left, right, top and bottom: logits (n, 4, things)."""

    def __init__(self, width):
        super().__init__(width, 4 * len(NAMES))

    def forward(self, embeddings):
        return super().forward(20 * embeddings).unflatten(-1, (4, len(NAMES)))


def sides_of(scene):
    """The things at the left, right, top and bottom of a scene of a relation, -100 where nothing is said."""
    (near, (x0, y0, *_)), (far, (x1, y1, *_)) = scene.things
    pair = [INDEX[near], INDEX[far]]
    return pair + [-100, -100] if abs(x1 - x0) > abs(y1 - y0) else [-100, -100] + pair


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


def relation_texts(world, r):
    """Captions of relations as those of scenes, and their sides."""
    texts, sides = [], []
    for _ in range(RELATED_TEXTS):
        near, far = r.sample(NAMES, 2)
        a, b = (with_article(world._named(r, name)) for name in (near, far))
        beside = r.random() < 0.5
        forms = [f"{a} to the left of {b}", f"{b} to the right of {a}"] if beside else [f"{a} above {b}", f"{b} below {a}"]
        background = world._choose_background(r)
        where = "on " + with_article(f"{background} background") if background in COLOURS else r.choice(PLACES[background])
        texts.append(world._caption(r, r.choice(forms), r.choice(list(STYLES)), where, r.choice(EFFECTS) if r.random() < 0.2 else None))
        pair = [INDEX[near], INDEX[far]]
        sides.append(pair + [-100, -100] if beside else [-100, -100] + pair)
    return texts, torch.tensor(sides)


def patch_targets(labels):
    """The thing that fills most of each patch, -1 where nothing does, -100 where it is not clear."""
    n = labels.shape[0] // PATCH
    cells = labels.reshape(n, PATCH, n, PATCH).transpose(0, 2, 1, 3).reshape(n * n, -1)
    middle = np.sort(cells, axis=1)[:, cells.shape[1] // 2]
    share = (cells == middle[:, None]).mean(1)
    return np.where(share > 0.5, middle - 1, -100)


def attribute_texts(r):
    """One wording for each style, each background and each effect."""
    of = r.choice(["", "", "an image on ", "a picture with "])
    style = r.choice(["{}", "{}", "a picture, {}", "{} of something"])
    effect = r.choice(["{}", "{}", "a picture, {}", "an image, {}"])
    grounds = [of + with_article(f"{name} background") for name in COLOURS]
    places = [("a picture " if of else "") + r.choice(PLACES[name]) for name in PLACES]
    styles = [style.format(with_article(r.choice(phrases)) if style != "a picture, {}" else r.choice(phrases)) for _, phrases in STYLES.values()]
    return styles, grounds + places, [effect.format(name) for name in EFFECTS]


def attribute_targets(scene):
    """Indices of the scene's style, background and effect, -100 for what cannot be told from the picture."""
    clear = scene.effect is None or scene.effect in GENTLE_EFFECTS
    style, background = list(STYLES).index(scene.style), BACKGROUNDS.index(scene.background)
    return [style if clear else -100, background if clear else -100, EFFECTS.index(scene.effect) if scene.effect else -100]


def roughened(r, picture):
    """The picture as a camera or a careless export might give it: other colours, a little blur, noise."""
    if r.random() < 0.15:
        for kind in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
            picture = kind(picture).enhance(r.uniform(0.8, 1.2))
    if r.random() < 0.1:
        picture = picture.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 0.9) * picture.width / 128))
    if r.random() < 0.1:
        noise = np.random.default_rng(r.getrandbits(32)).normal(0, r.uniform(3, 14), (picture.height, picture.width, 3))
        picture = Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    return picture


def batch(world, r, size):
    pictures, captions, reversed_captions, related, sides, targets, single, attributes = [], [], [], [], [], [], [], []
    for k in range(size):
        scene = world.scene(r, "pair" if k < RELATED * size else None)
        pictures.append(roughened(r, scene.picture))
        captions.append(scene.caption)
        if scene.reversed_caption:
            reversed_captions.append(scene.reversed_caption)
            related.append(k)
            sides.append(sides_of(scene))
        attributes.append(attribute_targets(scene))
        targets.append(patch_targets(scene.labels))
        kinds = {name for name, _ in scene.things}
        single.append(INDEX[scene.things[0][0]] if len(kinds) == 1 else -100)
    return pixels_of(pictures), captions, reversed_captions, related, torch.tensor(sides).view(-1, 4), torch.from_numpy(np.stack(targets)).long(), torch.tensor(single), torch.tensor(attributes)


def candidates(r, *targets):
    """Indices of the names to tell apart in this step, and for each tensor of targets its places in that list."""
    present = sorted({k for target in targets for k in target.flatten().tolist() if k >= 0})
    others = [k for k in r.sample(range(len(NAMES)), len(NAMES)) if k not in set(present)]
    chosen = present + others[: max(0, CANDIDATES - len(present))]
    place = torch.full((len(NAMES),), -100)
    place[torch.tensor(chosen)] = torch.arange(len(chosen))
    return chosen, [torch.where(target >= 0, place[target.clamp(min=0)], -100) for target in targets]


def mean_cross_entropy(logits, targets):
    """The mean over the targets that are not -100; zero if there is none."""
    return F.cross_entropy(logits, targets, ignore_index=-100, reduction="sum") / (targets != -100).sum().clamp(min=1)


@torch.no_grad()
def evaluate(model, tokenizer, work, size, count=150):
    """Zero-shot accuracy on pictures of one thing, and how often the map's peak lies inside the named thing of a pair,
    on scenes of seeds that training does not use."""
    r, world = random.Random(10**9), World(work, size)
    texts = encode_texts(model, token_ids(tokenizer, [f"a picture of a {name}" for name in NAMES]))
    right = hits = 0
    for _ in range(count):
        scene = world.scene(r, "one")
        whole, _ = encode_pictures(model, pixels_of([scene.picture]))
        right += NAMES[(whole @ texts.T).argmax().item()] == scene.things[0][0]
        scene = world.scene(r, "pair")
        _, patches = encode_pictures(model, pixels_of([scene.picture]))
        wanted = INDEX[scene.things[0][0]]
        peak, n = (patches[0] @ texts[wanted]).argmax().item(), size // PATCH
        y, x = peak // n * PATCH, peak % n * PATCH
        hits += (scene.labels[y : y + PATCH, x : x + PATCH] == wanted + 1).mean() > 0.25
    return round(right / count, 3), round(hits / count, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--texts-first", type=int, default=900, help="the first steps see captions of relations alone: beside pictures the text tower does not find out which word stands where")
    parser.add_argument("--cooldown", type=float, default=0.0, help="the last part of the run that lowers the rate")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(args.work / "tokenizer")
    model = new_model(tokenizer)
    # On processors the plain attention is twice as fast backwards as the fused one.
    model.set_attn_implementation("eager")
    sides_read = Sides(192)
    training = Training(args.work / "similarity", {"clip": model, "sides": sides_read}, args.rate, args.minutes, plain=("embedding", "logit_scale"), shipped={"clip": HERE.parent / "clip"})
    r = random.Random(11 + training.step)
    worlds = {128: World(args.work, 128), 256: World(args.work, 256)}
    while training.progress < 1:
        if training.step < args.texts_first:
            texts, sides = relation_texts(worlds[128], r)
            with torch.autocast("cpu", torch.bfloat16):
                read = sides_read(encode_texts(model, token_ids(tokenizer, texts)))
            loss = mean_cross_entropy(read.flatten(0, 1), sides.flatten())
            training.update(loss, 0)
            if training.step % 50 == 0:
                right = (read.argmax(-1) == sides)[sides >= 0].float().mean()
                print(training.step, f"{training.progress * args.minutes:.1f} min, captions alone: sides {loss.item():.3f}, {right.item():.2f} right", flush=True)
            continue
        fine = training.step % 3 == 2
        size = args.batch // 3 if fine else args.batch
        pixels, captions, reversed_captions, related, sides, targets, single, attributes = batch(worlds[256 if fine else 128], r, size)
        more_texts, more_sides = relation_texts(worlds[128], r)
        chosen, (on, one) = candidates(r, targets, single)
        template = r.choice(CLASS_TEMPLATES)
        kinds = attribute_texts(r)
        attribute_list = [text for texts in kinds for text in texts]
        with torch.autocast("cpu", torch.bfloat16):
            whole, patches = encode_pictures(model, pixels)
            texts = encode_texts(model, token_ids(tokenizer, captions + reversed_captions))
            more = encode_texts(model, token_ids(tokenizer, more_texts))
            short = encode_texts(model, token_ids(tokenizer, [template.format(NAMES[k]) for k in chosen] + attribute_list))
        names, of_attributes = short[: len(chosen)], short[len(chosen) :].split([len(texts) for texts in kinds])
        scale = model.logit_scale.exp().clamp(max=100)
        # Equal captions are no negatives of each other.
        same = torch.tensor([[a == b for b in captions] for a in captions])
        target = same.float() / same.sum(1, keepdim=True)
        logits = scale * whole @ texts.T
        own = logits[:, : len(captions)]
        contrastive = (F.cross_entropy(logits, F.pad(target, (0, len(reversed_captions)))) + F.cross_entropy(own.T, target)) / 2
        # In the batch's loss this is one negative among a hundred, and is never learnt.
        true, false = logits[related, related], logits[related, len(captions) + torch.arange(len(related))]
        on_relations = F.softplus(false - true).mean() if related else logits.new_zeros(())
        swapped = sides[:, [1, 0, 3, 2]]
        read = zip((whole[related], texts[related], texts[len(captions) :], more), (sides, sides, swapped, more_sides))
        on_sides = sum(mean_cross_entropy(sides_read(x).flatten(0, 1), wanted.flatten()) for x, wanted in read)
        on_attributes = sum(mean_cross_entropy(scale * whole @ texts.T, attributes[:, k]) for k, texts in enumerate(of_attributes))
        on_picture = mean_cross_entropy(scale * whole @ names.T, one)
        similarities = patches @ names.T
        on_patches = mean_cross_entropy(scale * similarities.flatten(0, 1), on.flatten())
        # Background patches must not look like any thing: their similarities are pushed below zero.
        empty = similarities[targets == -1].clamp(min=0).mean()
        training.update(contrastive + on_picture + on_patches + 2 * empty + 0.3 * on_attributes + 2 * on_relations + on_sides, size, args.cooldown)
        if training.step % 50 == 0:
            print(training.step, f"{training.progress * args.minutes:.1f} min, {training.pictures} pictures, contrastive {contrastive.item():.3f}, picture {on_picture.item():.3f}, patches {on_patches.item():.3f}, attributes {on_attributes.item():.3f}, relations {on_relations.item():.3f}, sides {on_sides.item() / 4:.3f}", flush=True)
        if training.step % 1000 == 0:
            print("zero-shot, pointing at 128, 256:", *(evaluate(training.average["clip"], tokenizer, args.work, n) for n in (128, 256)), flush=True)
    training.save()
    print("zero-shot, pointing at 128, 256:", *(evaluate(training.average["clip"], tokenizer, args.work, n, 400) for n in (128, 256)), flush=True)


if __name__ == "__main__":
    main()
