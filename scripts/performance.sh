#!/usr/bin/env bash
# Measures a recipe's speed and not its accuracy: one epoch of made images, on all visible devices.
#   bash scripts/performance.sh configs/published/ascend_pytorch.py:1device [--config.KEY=VALUE ...]
# images_per_second is in each train line and in run.json. With data: add --config.data.source=folder --config.data.path=DATA
set -euo pipefail
. "$(dirname "$0")/usage.sh"
need 1 "CONFIG" "$@"
train "$1" --workdir "$(mktemp -d)" --config.num_epochs=1 --config.schedule.warmup_epochs=0 --config.data.source=synthetic --config.data.synthetic_examples=102400 --config.log_every_steps=10 "${@:2}"
