#!/usr/bin/env bash
# All stages, in order. Needs Python with torch, diffusers, transformers, tokenizers, resvg-py, pillow and numpy from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p .work
npm install --prefix .work @iconify-json/fluent-emoji-flat @iconify-json/fluent-emoji @iconify-json/noto @iconify-json/twemoji
python sprites.py
python sprites.py --size 400 --name sprites-large
python tokenizer.py
python train_vae.py --minutes 90
python train_clip.py --minutes 600 --cooldown 0.2
python train_unet.py --minutes 900 --cooldown 0.2
python train_vae.py --minutes 60 --decoder-only
python train_judge.py --minutes 75
python export.py
python export_world.py
cargo build --release --manifest-path ../../../Cargo.toml
python contact_sheet.py --program ../../../target/release/maquette
