#!/usr/bin/env bash
# The same in mixed precision, float16 with a dynamic loss scale: bash scripts/train_1device_mixed.sh CONFIG DATA [FLAGS]
set -euo pipefail
. "$(dirname "$0")/usage.sh"
need 2 "CONFIG DATA" "$@"
exec bash "$(dirname "$0")/train_1device.sh" "$1" "$2" --config.model.precision=float16 --config.optimizer.loss_scale=dynamic "${@:3}"
