#!/usr/bin/env bash
# Installs alexnet_jax in a virtual environment of its own, trains on scikit-learn's handwritten digits (real images,
# nothing to download) and shows the result. Arguments go to the trainer: bash scripts/quickstart.sh --config.seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

echo "Installing (a minute or two the first time) ..."
make_environment quickstart quickstart
echo "Training configs/digits.py; everything is written to runs/digits ..."
"$python" -m alexnet_jax.main --config configs/digits.py "$@"
