"""Writes ../world, from which the program makes scenes itself to measure the models with: world.json holds what `world.py`
says of things, styles, backgrounds and effects, icons.json.gz the drawings as SVG. Needs the npm packages, as `sprites.py`."""

import argparse
import gzip
import json

from sprites import icon_of
from world import COLOURS, EFFECTS, GENTLE_EFFECTS, HELD_OUT, HERE, IRREGULAR, KINDS, PLACES, PLURAL_ONLY, STYLES, THINGS, work_folder


def world():
    return {
        "things": [{"name": name, "icon": icon, "adjective": adjective} for name, icon, adjective in THINGS],
        "styles": [{"name": name, "icons": package, "phrases": phrases} for name, (package, phrases) in STYLES.items()],
        "colours": [{"name": name, "rgb": rgb} for name, rgb in COLOURS.items()],
        "places": [{"name": name, "phrases": phrases} for name, phrases in PLACES.items()],
        "effects": [{"name": name, "gentle": name in GENTLE_EFFECTS} for name in EFFECTS],
        "kinds": KINDS,
        "plural_only": sorted(PLURAL_ONLY),
        "irregular_plurals": IRREGULAR,
        "held_out": HELD_OUT,
    }


def drawings(work):
    """By style and thing: width, height and body of its SVG."""
    found = {}
    for style, (package, _) in STYLES.items():
        icons = json.loads((work / "node_modules/@iconify-json" / package / "icons.json").read_text())
        found[style] = {name: icon_of(icons, icon) for name, icon, _ in THINGS}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    args = parser.parse_args()
    folder = HERE.parent / "world"
    folder.mkdir(exist_ok=True)
    (folder / "world.json").write_text(json.dumps(world(), indent=1) + "\n")
    # Without a time in its header, the same drawings give the same file.
    packed = gzip.compress(json.dumps(drawings(args.work), separators=(",", ":")).encode(), mtime=0)
    (folder / "icons.json.gz").write_bytes(packed)
    print(len(packed), "bytes of drawings")


if __name__ == "__main__":
    main()
