"""Renders the things' icons to RGBA sprites. Needs the npm packages (see README.md) under WORK/node_modules."""

import argparse
import io
import json

import numpy as np
import resvg_py
from PIL import Image

from world import STYLES, THINGS, work_folder


def svg_of(icons: dict, name: str) -> str:
    """The SVG text of an Iconify icon, following one alias."""
    icon = icons["icons"].get(name) or icons["icons"].get(icons.get("aliases", {}).get(name, {}).get("parent", ""))
    if icon is None:
        raise SystemExit(f"the icon set {icons['prefix']} has no icon {name}")
    width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'


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
            png = resvg_py.svg_to_bytes(svg_string=svg_of(icons, icon), width=args.size, height=args.size)
            images.append(np.array(Image.open(io.BytesIO(bytes(png))).convert("RGBA").resize((args.size, args.size))))
            index.append((name, style))
    np.savez_compressed(args.work / f"{args.name}.npz", images=np.stack(images))
    (args.work / f"{args.name}.json").write_text(json.dumps(index))
    print(len(images), "sprites")


if __name__ == "__main__":
    main()
