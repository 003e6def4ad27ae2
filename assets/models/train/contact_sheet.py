"""Draws the contact sheet of the model card: 64 pictures by the shipped diffusion model with their prompts.

The prompts are captions of scenes that training did not see, of one thing and of two; picture k has seed k. Nothing is chosen.
"""

import argparse
import random
import subprocess
import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from world import HERE, World, work_folder

SIDE, WORDS, GAP, COLUMNS, COUNT = 128, 42, 8, 8, 64


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--program", default="maquette", help="path of the program")
    args = parser.parse_args()
    world, r = World(args.work, SIDE), random.Random(10**9 + 2)
    width = COLUMNS * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, COUNT // COLUMNS * (SIDE + WORDS + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    with tempfile.TemporaryDirectory() as folder:
        for k in range(COUNT):
            prompt = world.scene(r, "one" if k < COUNT * 3 // 4 else "pair").caption
            file = Path(folder) / f"{k}.png"
            subprocess.run([args.program, "generate", "--prompt", prompt, "--seed", str(k), "--out", file], check=True, capture_output=True)
            x, y = GAP + k % COLUMNS * (SIDE + GAP), GAP + k // COLUMNS * (SIDE + WORDS + GAP)
            sheet.paste(Image.open(file), (x, y))
            draw.multiline_text((x, y + SIDE + 2), "\n".join(textwrap.wrap(prompt, 25)[:3]), "black", font, spacing=1)
    sheet.save(HERE / "contact-sheet.jpg", quality=88)


if __name__ == "__main__":
    main()
