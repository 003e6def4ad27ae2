"""Renders the things' icons to RGBA sprites. Needs the npm packages (see README.md) under WORK/node_modules."""

import argparse
import io
import json

import numpy as np
import resvg_py
from PIL import Image, ImageFilter

from world import STYLES, THINGS, work_folder


def icon_of(icons: dict, name: str) -> tuple:
    """Width, height and SVG body of an Iconify icon, following one alias."""
    icon = icons["icons"].get(name) or icons["icons"].get(icons.get("aliases", {}).get(name, {}).get("parent", ""))
    if icon is None:
        raise SystemExit(f"the icon set {icons['prefix']} has no icon {name}")
    return icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16)), icon["body"]


def svg_of(icons: dict, name: str) -> str:
    """The SVG text of an Iconify icon."""
    width, height, body = icon_of(icons, name)
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>'


def rendered(svg: str, size: int) -> Image.Image:
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA").resize((size, size), Image.LANCZOS)


def as_sticker(icon: Image.Image) -> Image.Image:
    """The icon, a little smaller, on a white rim with a soft shadow."""
    size = icon.width
    rim, inner = round(size * 0.045), round(size * 0.86)
    small = Image.new("RGBA", icon.size)
    small.paste(icon.resize((inner, inner), Image.LANCZOS), ((size - inner) // 2,) * 2)
    alpha = small.getchannel("A").filter(ImageFilter.MaxFilter(rim // 2 * 2 + 1)).filter(ImageFilter.MaxFilter(rim // 2 * 2 + 1))
    alpha = alpha.filter(ImageFilter.GaussianBlur(size / 128))
    shadow = Image.new("L", icon.size, 0)
    shadow.paste(alpha.point(lambda v: v * 90 // 255), (round(size * 0.012), round(size * 0.025)))
    sticker = Image.new("RGBA", icon.size, (20, 20, 30, 0))
    sticker.putalpha(shadow.filter(ImageFilter.GaussianBlur(size / 50)))
    white = Image.new("RGBA", icon.size, (255, 255, 255, 255))
    white.putalpha(alpha)
    return Image.alpha_composite(Image.alpha_composite(sticker, white), small)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--name", default="sprites", help="name of the output files")
    args = parser.parse_args()
    images, index = [], []
    for style, (package, _) in STYLES.items():
        icons = json.loads((args.work / "node_modules/@iconify-json" / package / "icons.json").read_text())
        for name, icon, _ in THINGS:
            sprite = rendered(svg_of(icons, icon), args.size)
            images.append(np.array(as_sticker(sprite) if style == "sticker" else sprite))
            index.append((name, style))
    np.savez_compressed(args.work / f"{args.name}.npz", images=np.stack(images))
    (args.work / f"{args.name}.json").write_text(json.dumps(index))
    print(len(images), "sprites")


if __name__ == "__main__":
    main()
