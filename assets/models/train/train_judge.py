"""Trains the judge: a small convolutional net that says what scenes show. It only ever sees scenes, never generated pictures,
and shares nothing with the CLIP, so it can say how well generated pictures show what was asked for.

It is the encoder of diffusers' autoencoders over 4x4 pixels at a time: for each of 8x8 cells logits of all things and of none,
of styles, backgrounds and effects; the last three are averaged over the cells.
"""

import argparse
import json
import random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.vae import Encoder
from safetensors.torch import save_file

from train_clip import attribute_targets, mean_cross_entropy, patch_targets, roughened
from train_vae import as_tensor
from training import Training
from world import BACKGROUNDS, EFFECTS, INDEX, NAMES, STYLES, World, work_folder

HEADS = {"thing": NAMES + [""], "style": list(STYLES), "background": BACKGROUNDS, "effect": EFFECTS + [""]}
SIZES = [len(names) for names in HEADS.values()]
CONFIG = dict(block_out_channels=(64, 96, 160), layers_per_block=1, norm_num_groups=16, unshuffle=4)


class Judge(torch.nn.Module):
    def __init__(self):
        super().__init__()
        channels = CONFIG["block_out_channels"]
        self.encoder = Encoder(
            in_channels=3 * CONFIG["unshuffle"] ** 2, out_channels=sum(SIZES), down_block_types=("DownEncoderBlock2D",) * len(channels),
            block_out_channels=channels, layers_per_block=1, norm_num_groups=CONFIG["norm_num_groups"], double_z=False, mid_block_add_attention=False,
        )

    def forward(self, pixels):
        """Logits of cells (b, things + 1, 8, 8) and of pictures, for style, background and effect, of pixels in -1..1."""
        out = self.encoder(F.pixel_unshuffle(pixels, CONFIG["unshuffle"]).contiguous(memory_format=torch.channels_last)).float()
        cells, *rest = out.split(SIZES, 1)
        return cells, [logits.mean((2, 3)) for logits in rest]

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True, parents=True)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({**CONFIG, "heads": HEADS}, indent=1) + "\n")


def things_of(cells):
    """Log-probabilities of things in whole pictures (b, things): the mean of the cells' probabilities, without none."""
    shares = cells.softmax(1)[:, :-1].mean((2, 3))
    return (shares / shares.sum(1, keepdim=True).clamp(min=1e-6) + 1e-8).log()


def batch(world, r, size):
    scenes = [world.scene(r) for _ in range(size)]
    pixels = as_tensor(np.stack([np.asarray(roughened(r, scene.picture)) for scene in scenes]))
    cells = torch.from_numpy(np.stack([patch_targets(scene.labels) for scene in scenes])).long().view(size, 8, 8)
    single = [INDEX[scene.things[0][0]] if len({name for name, _ in scene.things}) == 1 else -100 for scene in scenes]
    attributes = torch.tensor([attribute_targets(scene) for scene in scenes])
    attributes[:, 2] = torch.where(attributes[:, 2] < 0, len(EFFECTS), attributes[:, 2])
    return pixels, torch.where(cells == -1, len(NAMES), cells), torch.tensor(single), attributes


@torch.no_grad()
def evaluate(judge, work, count=512):
    """Shares of held-out scenes whose thing (of one-thing scenes), style, background and effect are recognised."""
    world, r = World(work, 128, "all"), random.Random(10**9 + 1)
    right, asked = np.zeros(4), np.zeros(4)
    for _ in range(count // 32):
        pixels, _, single, attributes = batch(world, r, 32)
        cells, rest = judge(pixels)
        for k, (logits, targets) in enumerate(zip([things_of(cells), *rest], [single, *attributes.T])):
            right[k] += (logits.argmax(1) == targets).sum().item()
            asked[k] += (targets >= 0).sum().item()
    return dict(zip(HEADS, (right / asked).round(3).tolist()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cooldown", type=float, default=0.4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    judge = Judge().to(memory_format=torch.channels_last)
    training = Training(args.work / "judge", {"judge": judge}, args.rate, args.minutes, plain=("conv_in", "conv_out"), decay=0.995)
    print(sum(p.numel() for p in judge.parameters()) / 1e6, "million parameters; step", training.step, flush=True)
    world, r = World(args.work, 128, "all"), random.Random(31 + training.step)
    weight = torch.ones(len(NAMES) + 1)
    weight[-1] = 0.2
    while training.progress < 1:
        pixels, cells, single, attributes = batch(world, r, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            on_cells, rest = judge(pixels)
        loss = F.cross_entropy(on_cells, cells, weight, ignore_index=-100) + mean_cross_entropy(things_of(on_cells), single)
        loss = loss + 0.5 * sum(mean_cross_entropy(logits, targets) for logits, targets in zip(rest, attributes.T))
        training.update(loss, args.batch, args.cooldown)
        if training.step % 50 == 0:
            print(training.step, f"{training.progress * args.minutes:.1f} min, {training.pictures} pictures, loss {loss.item():.3f}", flush=True)
        if training.step % 500 == 0:
            print("recognised:", evaluate(training.average["judge"], args.work), flush=True)
    training.save()
    print("recognised:", evaluate(training.average["judge"], args.work, 1024), flush=True)


if __name__ == "__main__":
    main()
