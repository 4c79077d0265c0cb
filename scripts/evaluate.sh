#!/usr/bin/env bash
# Evaluates the newest checkpoint of a run, and trains nothing: bash scripts/evaluate.sh CONFIG DATA WORKDIR [--config.KEY=VALUE ...]
set -euo pipefail
. "$(dirname "$0")/usage.sh"
need 3 "CONFIG DATA WORKDIR" "$@"
train "$1" --mode eval --config.data.path="$2" --workdir "$3" "${@:4}"
