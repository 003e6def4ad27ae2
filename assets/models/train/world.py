"""The world that the built-in models know: its things, styles, backgrounds and effects, and a maker of captioned scenes.

A scene is a picture with a caption and a label map (0 is background, k+1 is the k-th thing). Everything is drawn from one
`random.Random`, so a seed fixes a scene.
"""

import csv
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

HERE = Path(__file__).parent

# Name, icon, and an adjective that is true of it in all styles ("" for none).
THINGS = [(row["name"], row["icon"], row["adjective"]) for row in csv.DictReader((HERE / "things.csv").open())]
NAMES = [name for name, _, _ in THINGS]
INDEX = {name: k for k, name in enumerate(NAMES)}
ADJECTIVE = {name: adjective for name, _, adjective in THINGS}

# Style, icon set, phrases for it. Stickers get a white rim and a shadow in `sprites.py`.
STYLES = {
    "flat": ("fluent-emoji-flat", ["flat illustration", "flat design"]),
    "glossy": ("fluent-emoji", ["glossy 3d render", "3d render"]),
    "cartoon": ("noto", ["cartoon", "cartoon drawing"]),
    "sticker": ("twemoji", ["sticker", "sticker art"]),
}

COLOURS = {
    "white": (250, 250, 250), "black": (20, 20, 22), "gray": (130, 130, 135), "red": (214, 48, 49), "orange": (243, 134, 48),
    "yellow": (250, 211, 70), "green": (76, 175, 80), "blue": (52, 110, 219), "purple": (136, 78, 190), "pink": (247, 160, 195),
    "brown": (121, 85, 62), "teal": (40, 170, 165),
}
PLACES = {
    "sunset": ["at sunset"], "night": ["at night"], "meadow": ["in a meadow"], "sea": ["at sea"],
    "checkerboard": ["on a checkered background"],
}
EFFECTS = [
    "pencil sketch", "pixel art", "black and white photo", "sepia toned", "neon glow", "foggy", "watercolor painting", "blurry",
    "blueprint",
]
BACKGROUNDS = list(COLOURS) + list(PLACES)
# Effects under which the colour of the ground and the drawing style can still be seen.
GENTLE_EFFECTS = {"foggy", "watercolor painting", "blurry"}
CLASS_TEMPLATES = ["a picture of a {}", "a photo of a {}", "an image of a {}", "a {}", "{}", "the {}", "a small {}", "a drawing of a {}"]
KINDS = {"one": 0.56, "pair": 0.29, "several": 0.07, "many": 0.08}
PLURAL_ONLY = {
    "beans", "blueberries", "books", "cherries", "chopsticks", "fries", "glasses", "grapes", "headphone", "jeans", "pancakes", "peanuts",
    "art", "scissors", "sunglasses", "bacon", "corn", "popcorn", "spaghetti", "sushi", "broccoli", "coral", "garlic", "butter", "yarn", "fire",
}
# Shares of pairs that training never shows: of a thing with a style, of a thing with a background.
HELD_OUT = {"style": 0.03, "background": 0.06}
IRREGULAR = {"fish": "fish", "goose": "geese", "ox": "oxen", "sheep": "sheep", "leafy green": "leafy greens", "cactus": "cacti"}


def with_article(noun: str) -> str:
    """`noun` with its indefinite article; plural things and stuffs have none."""
    if noun.split()[-1] in PLURAL_ONLY:
        return noun
    return ("an " if noun[0] in "aeiou" and not noun.startswith(("uni", "ufo")) else "a ") + noun


def plural(noun: str) -> str:
    if noun in PLURAL_ONLY:
        return noun
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def reversed_relation(what: str) -> str | None:
    """`what` with its relation turned round ("left" for "right", "above" for "below"), None if it has none."""
    for word, other in (("to the left of", "to the right of"), ("to the right of", "to the left of"), ("above", "below"), ("below", "above")):
        if f" {word} " in what:
            return what.replace(f" {word} ", f" {other} ")
    return None


def is_held_out(name: str, other: str) -> bool:
    """Whether training never shows the thing `name` in this style or on this background."""
    value = hashlib.sha256(f"{name}|{other}".encode()).digest()[0] / 256
    return value < HELD_OUT["style" if other in STYLES else "background"]


@dataclass
class Scene:
    """A picture with all that is known of it: `labels` is its label map, `things` are (name, box) in pixels."""

    picture: Image.Image
    caption: str
    labels: np.ndarray
    things: list
    kind: str
    what: str
    style: str
    background: str
    effect: str | None
    # The caption with its relation reversed, which is false of the picture; None if it states none.
    reversed_caption: str | None = None


class World:
    """Draws scenes of `size` x `size` pixels from the sprites that `sprites.py` made.

    `combinations` says which pairs of thing and style or background it shows: those of "training", only pictures with
    an "unseen" pair, or "all". `spread` is how much places and sizes vary, from 0 to 1.
    """

    def __init__(self, work: Path, size: int, combinations: str = "training", spread: float = 1.0):
        self.size, self.combinations, self.spread = size, combinations, spread
        images = np.load(work / "sprites.npz")["images"]
        index = json.loads((work / "sprites.json").read_text())
        self.sprites = {(name, style): Image.fromarray(images[i]) for i, (name, style) in enumerate(index)}

    def scene(self, r: random.Random, kind: str | None = None, effect: bool | None = None) -> Scene:
        """A new scene; `effect` asks for a picture effect (True) or for none (False)."""
        kind = kind or r.choices(list(KINDS), list(KINDS.values()))[0]
        while True:
            style, background = r.choice(list(STYLES)), self._choose_background(r)
            names = r.sample(NAMES, {"one": 1, "pair": 2, "several": 1, "many": r.choice([3, 3, 4])}[kind])
            unseen = any(is_held_out(name, other) for name in names for other in (style, background))
            if self.combinations == "all" or unseen == (self.combinations == "unseen"):
                break
        picture, where = self._background(r, background)
        labels = Image.new("I", (self.size, self.size), 0)
        things, what = getattr(self, "_" + kind)(r, names, style, picture, labels)
        effect = r.choice(EFFECTS) if (r.random() < 0.2 if effect is None else effect) else None
        if effect:
            picture = EFFECT_FUNCTIONS[effect](picture)
        caption = self._caption(r, what, style, where, effect)
        reversed_what = reversed_relation(what)
        reversed_caption = caption.replace(what, reversed_what) if reversed_what else None
        return Scene(picture, caption, np.asarray(labels), things, kind, what, style, background, effect, reversed_caption)

    def _about(self, r, middle, amount):
        """A size in pixels that varies around `middle` (of 128) by at most `amount`."""
        return (middle + r.uniform(-amount, amount) * self.spread) * self.size / 128

    def _put(self, picture, labels, name, style, cx, cy, size, mirrored):
        size = int(size)
        sprite = self.sprites[name, style].resize((size, size), Image.LANCZOS)
        if mirrored:
            sprite = ImageOps.mirror(sprite)
        x, y = int(cx - size / 2), int(cy - size / 2)
        picture.paste(sprite, (x, y), sprite)
        labels.paste(INDEX[name] + 1, (x, y), sprite.getchannel("A").point(lambda v: 255 if v > 128 else 0))
        return name, [x, y, x + size, y + size]

    def _one(self, r, names, style, picture, labels):
        name, n, z = names[0], self.size / 128, r.random()
        if z < 0.76:
            size, adjective = self._about(r, 94, 12), ""
        elif z < 0.92:
            size, adjective = self._about(r, 50, 8), "small "
        else:
            size, adjective = self._about(r, 117, 5), "large "
        free = max(3 * n, (self.size - size) / 2 * (0.9 if adjective == "small " else 0.4)) * self.spread
        cx, cy = self.size / 2 + r.uniform(-free, free), self.size / 2 + r.uniform(-free, free)
        thing = self._put(picture, labels, name, style, cx, cy, size, r.random() < 0.2 * self.spread)
        return [thing], with_article(adjective + self._named(r, name))

    def _pair(self, r, names, style, picture, labels):
        n = self.size / 128
        size, near, far = self._about(r, 59, 5), 33 * n, 95 * n
        jitter = lambda amount: r.uniform(-amount, amount) * n * self.spread
        beside = r.random() < 0.6
        first = (near + jitter(3), self.size / 2 + jitter(10)) if beside else (self.size / 2 + jitter(10), near + jitter(3))
        second = (far + jitter(3), self.size / 2 + jitter(10)) if beside else (self.size / 2 + jitter(10), far + jitter(3))
        things = [self._put(picture, labels, name, style, *at, size, False) for name, at in zip(names, (first, second))]
        a, b = (with_article(self._named(r, name)) for name in names)
        if beside:
            what = r.choice([f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} and {b}", f"{a} next to {b}"])
        else:
            what = r.choice([f"{a} above {b}", f"{b} below {a}"])
        return things, what

    def _several(self, r, names, style, picture, labels):
        n, name, count = self.size / 128, names[0], r.choice([2, 3, 4])
        places = {2: [(34, 64), (94, 64)], 3: [(34, 90), (94, 90), (64, 36)], 4: [(34, 34), (94, 34), (34, 94), (94, 94)]}[count]
        size = self._about(r, 54, 4)
        things = [self._put(picture, labels, name, style, x * n, y * n, size, False) for x, y in places]
        return things, f"{['two', 'three', 'four'][count - 2]} {plural(name)}"

    def _many(self, r, names, style, picture, labels):
        n, size = self.size / 128, self._about(r, 54, 4)
        places = r.sample([(34, 34), (94, 34), (34, 94), (94, 94)], len(names))
        things = [self._put(picture, labels, name, style, x * n, y * n, size, False) for name, (x, y) in zip(names, places)]
        listed = [with_article(name) for name in names]
        return things, ", ".join(listed[:-1]) + " and " + listed[-1]

    def _named(self, r, name):
        return f"{ADJECTIVE[name]} {name}" if ADJECTIVE[name] and r.random() < 0.35 else name

    def _caption(self, r, what, style, where, effect):
        style_phrase = r.choice(STYLES[style][1]) if r.random() < 0.6 else None
        parts = [effect] if effect else []
        if style_phrase and r.random() < 0.5:
            text = f"{with_article(style_phrase)} of {what}"
        else:
            text = r.choice(["", "", "", "a photo of ", "a picture of ", "an image of "]) + what
            parts += [style_phrase] if style_phrase else []
        if r.random() < 0.92:
            text += " " + where
        r.shuffle(parts)
        return ", ".join([text] + parts)

    def _choose_background(self, r):
        return r.choice(list(COLOURS)) if r.random() < 0.7 else r.choice(list(PLACES))

    def _background(self, r, name):
        n = self.size
        if name in COLOURS:
            colour = tuple(max(0, min(255, v + r.randint(-6, 6))) for v in COLOURS[name])
            ground = with_article(f"{name} background")
            phrases = [f"on {ground}", f"on {ground}", f"with {ground}"]
            return Image.new("RGB", (n, n), colour), r.choice(phrases)
        return getattr(self, "_" + name)(r), r.choice(PLACES[name])

    def _gradient(self, top, bottom):
        t = np.linspace(0, 1, self.size)[:, None, None]
        rows = (1 - t) * np.array(top) + t * np.array(bottom)
        return np.broadcast_to(rows, (self.size, self.size, 3)).astype(np.uint8).copy()

    def _sunset(self, r):
        return Image.fromarray(self._gradient((250, 120, 60), (120, 40, 110)))

    def _night(self, r):
        picture, unit = Image.fromarray(self._gradient((10, 14, 50), (40, 40, 90))), self.size / 128
        draw = ImageDraw.Draw(picture)
        for _ in range(36):
            x, y, v = r.uniform(0, self.size), r.uniform(0, self.size), r.randint(150, 255)
            radius = r.choice([0.5, 0.5, 1.2]) * unit
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(v, v, v))
        return picture

    def _meadow(self, r):
        pixels, horizon = self._gradient((120, 190, 250), (215, 240, 255)), int(self.size * 0.72)
        pixels[horizon:] = self._gradient((90, 180, 70), (60, 140, 50))[horizon:]
        return Image.fromarray(pixels)

    def _sea(self, r):
        pixels, horizon = self._gradient((140, 200, 250), (220, 240, 255)), int(self.size * 0.6)
        pixels[horizon:] = self._gradient((30, 110, 190), (10, 60, 140))[horizon:]
        return Image.fromarray(pixels)

    def _checkerboard(self, r):
        cells = np.arange(self.size) // max(1, self.size // 8)
        pixels = np.where(((cells[:, None] + cells) % 2 == 0)[..., None], (215, 215, 220), (245, 245, 245))
        return Image.fromarray(pixels.astype(np.uint8))


def _sketch(picture):
    gray = ImageOps.grayscale(picture)
    blurred = ImageOps.invert(gray).filter(ImageFilter.GaussianBlur(4 * picture.width / 128))
    a, b = np.asarray(gray, np.float32), np.asarray(blurred, np.float32)
    return Image.fromarray(np.minimum(255, a * 255 / (256 - b)).astype(np.uint8)).convert("RGB")


def _toned(picture, colour):
    gray = np.asarray(ImageOps.grayscale(picture), np.float32)[..., None] / 255
    return Image.fromarray((gray * np.array(colour)).clip(0, 255).astype(np.uint8))


def _pixelated(picture):
    return picture.resize((24, 24), Image.BOX).resize(picture.size, Image.NEAREST)


def _neon(picture):
    edges = picture.filter(ImageFilter.FIND_EDGES)
    border = Image.new("L", picture.size, 0)
    border.paste(255, (2, 2, picture.width - 2, picture.height - 2))
    edges = Image.composite(edges, Image.new("RGB", picture.size), border)
    glow = edges.filter(ImageFilter.GaussianBlur(3 * picture.width / 128))
    bright = ImageChops.add(edges.point(lambda v: min(255, int(v * 2.2))), glow.point(lambda v: min(255, v * 2)))
    return ImageChops.add(bright, Image.new("RGB", picture.size, (8, 4, 20)))


def _watercolor(picture):
    soft = picture.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.SMOOTH_MORE)
    return Image.blend(soft, Image.new("RGB", picture.size, (255, 252, 245)), 0.3)


def _blueprint(picture):
    lines = 1.6 * (255 - np.asarray(ImageOps.grayscale(_sketch(picture)), np.float32)[..., None]) / 255
    paper, ink = np.array([25, 70, 160]), np.array([235, 243, 255])
    return Image.fromarray((paper + (ink - paper) * lines.clip(0, 1)).astype(np.uint8))


EFFECT_FUNCTIONS = {
    "pencil sketch": _sketch,
    "pixel art": _pixelated,
    "black and white photo": lambda p: _toned(p, (255, 255, 255)),
    "sepia toned": lambda p: _toned(p, (262, 225, 170)),
    "neon glow": _neon,
    "foggy": lambda p: Image.blend(p, Image.new("RGB", p.size, (225, 228, 232)), 0.55),
    "watercolor painting": _watercolor,
    "blurry": lambda p: p.filter(ImageFilter.GaussianBlur(3 * p.width / 128)),
    "blueprint": _blueprint,
}


def work_folder(parser):
    """Adds the `--work` argument, where everything that is not shipped is kept."""
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder for sprites, checkpoints and caches")
