#!/usr/bin/env bash
# Trains a recipe on one device: bash scripts/train_1device.sh configs/published/deepspark.py:1device DATA [--config.KEY=VALUE ...]
# DEVICE=3 chooses the device; PYTHON the interpreter.
set -euo pipefail
. "$(dirname "$0")/usage.sh"
need 2 "CONFIG DATA" "$@"
export CUDA_VISIBLE_DEVICES=${DEVICE:-0} ASCEND_RT_VISIBLE_DEVICES=${DEVICE:-0}
train "$1" --config.data.path="$2" "${@:3}"
