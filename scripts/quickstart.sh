#!/usr/bin/env bash
# Installs alexnet_jax in a virtual environment of its own, trains on scikit-learn's handwritten digits (real images,
# nothing to download) and writes a report about it. Arguments go to the trainer: bash scripts/quickstart.sh --config.seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

workdir=runs/digits previous=
for argument in "$@"; do
  case $argument in --workdir=*) workdir=${argument#*=} ;; esac
  if [ "$previous" = --workdir ]; then workdir=$argument; fi
  previous=$argument
done
echo "Installing (a minute or two the first time) ..."
make_environment quickstart quickstart
echo "Training configs/digits.py ..."
"$python" -m alexnet_jax.main --config configs/digits.py "$@"
if [ -e "$workdir/run.json" ]; then
  echo "More commands: source ${python%python}activate"
  "$python" -m alexnet_jax report "$workdir" # ends with the evaluation
fi
