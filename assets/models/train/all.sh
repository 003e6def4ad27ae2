#!/usr/bin/env bash
# All stages, in order. Needs Python with torch, diffusers, transformers, tokenizers, resvg-py, pillow and numpy from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p .work
npm install --prefix .work @iconify-json/fluent-emoji-flat @iconify-json/noto
python sprites.py
python sprites.py --size 400 --name sprites-large
python tokenizer.py
python train_vae.py --minutes 32
python train_clip.py --minutes 45
python train_unet.py --minutes 48
python export.py
