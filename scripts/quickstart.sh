#!/usr/bin/env bash
# Installs alexnet_jax in a virtual environment of its own, trains on scikit-learn's handwritten digits (real images,
# nothing to download) and writes a report about it. Arguments go to the trainer: bash scripts/quickstart.sh --config.seed=1
set -euo pipefail
. "$(dirname "$0")/environment.sh"

workdir=runs/digits previous=
for argument in "$@"; do
  case $argument in --workdir=*) workdir=${argument#*=} ;; esac
  if [ "$previous" = --workdir ]; then workdir=$argument; fi
  previous=$argument
done
echo "Installing (a minute or two the first time) ..."
make_environment quickstart quickstart
python=$(from_here "$python")
echo "Training configs/digits.py ..."
"$python" -m alexnet_jax.main --config "$(from_here "$checkout/configs/digits.py")" "$@"
if [ -e "$workdir/run.json" ]; then
  echo "More commands: source ${python%python}activate"
  "$python" -m alexnet_jax report "$workdir" # ends with the evaluation
fi
