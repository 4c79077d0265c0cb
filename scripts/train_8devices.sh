#!/usr/bin/env bash
# Trains a recipe on eight devices of one machine: bash scripts/train_8devices.sh configs/published/deepspark.py DATA [FLAGS]
# DEVICES=0,1,2,3 chooses others; PYTHON the interpreter.
set -euo pipefail
. "$(dirname "$0")/usage.sh"
need 2 "CONFIG DATA" "$@"
export CUDA_VISIBLE_DEVICES=${DEVICES:-0,1,2,3,4,5,6,7} ASCEND_RT_VISIBLE_DEVICES=${DEVICES:-0,1,2,3,4,5,6,7}
train "$1" --config.data.path="$2" "${@:3}"
