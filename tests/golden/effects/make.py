"""Makes the fixture of tests/golden_quality.rs for the effects: a small scene, and what Pillow makes of it.

    pip install numpy pillow resvg-py
    python tests/golden/effects/make.py
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "assets/models/train"))

from world import EFFECT_FUNCTIONS  # noqa: E402


def main():
    n = 96
    picture = Image.new("RGB", (n, n), (52, 110, 219))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 14, 60, 70), fill=(214, 48, 49))
    draw.rectangle((50, 40, 88, 90), fill=(250, 211, 70), outline=(20, 20, 22))
    draw.line((0, 95, 95, 0), fill=(240, 250, 245), width=3)
    noise = np.random.default_rng(0).integers(-9, 10, (n // 3, n, 3))
    pixels = np.asarray(picture).astype(int)
    pixels[: n // 3] += noise
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    picture.save(HERE / "picture.png", optimize=True)
    for name, effect in EFFECT_FUNCTIONS.items():
        effect(picture).save(HERE / f"{name.replace(' ', '-')}.png", optimize=True)


if __name__ == "__main__":
    main()
