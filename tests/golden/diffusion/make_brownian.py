"""Makes brownian.json, which tests/golden/brownian.rs compares with: noise of torchsde's Brownian tree, as diffusers asks it.

    pip install torch==2.15.0 diffusers==0.42.1 torchsde==0.2.6 numpy
    python tests/golden/diffusion/make_brownian.py

Each case is a tree: its ends, its seed and how many numbers a sample has; then questions in an order, each of two sigmas and the
noise between them. Samples of less than 16 numbers are drawn in another way by torch than larger ones.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

HERE = Path(__file__).resolve().parent
SEEDS = (0, 7, 1234567890, 2**32 + 5, 2**63 + 11)
COUNTS = (1, 5, 16, 21)
ENDS = ((0.029167532920837402, 14.614646911621094), (0.1, 4096.0))


def down(low, high):
    """The questions of a walk of six steps, with one in the middle of each."""
    sigmas = np.exp(np.linspace(np.log(high), np.log(low), 7)).astype(np.float32)
    for first, last in zip(sigmas, sigmas[1:]):
        yield first, np.float32(np.sqrt(float(first) * float(last)))
        yield first, last


def back(low, high):
    """The same, the last first, and each the other way."""
    yield from ((last, first) for first, last in reversed(list(down(low, high))))


def anywhere(low, high):
    rng = np.random.default_rng(1)
    for _ in range(6):
        yield tuple(np.exp(rng.uniform(np.log(low), np.log(high), 2)).astype(np.float32))
    yield np.float32(high * 1.01), np.float32(low * 0.9)
    yield np.float32(low + 1e-5), np.float32(low + 3e-5)


def main():
    warnings.simplefilter("ignore")
    cases = []
    orders = (down, back, anywhere)
    for number, (seed, count) in enumerate((seed, count) for seed in SEEDS for count in COUNTS):
        low, high = ENDS[number % 5 == 4]
        tree = BrownianTreeNoiseSampler(torch.zeros(1, count), low, high, seed)
        questions = []
        for start, end in orders[number % 3](low, high):
            noise = tree(torch.tensor(start), torch.tensor(end))[0]
            questions.append([float(start), float(end), [round(value, 7) for value in noise.tolist()]])
        cases.append({"ends": [low, high], "seed": str(seed), "count": count, "questions": questions})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "brownian.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
