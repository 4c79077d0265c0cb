#!/usr/bin/env bash
# Measures everything about a GPU in one go and writes OUT/gpu_report.json and OUT/gpu_report.txt (OUT: gpu_report).
# Needs jax, flax, optax and NumPy, and PyTorch for the comparison; nothing is installed.
#   bash scripts/gpu_report.sh [OUT] [--batch-sizes 128 1024 ...] [--precisions float32 bfloat16] [--rounds 20]
# On a CPU, in a minute: bash scripts/gpu_report.sh OUT --variant cifar32 --image-size 32 --batch-sizes 8 --rounds 2
set -euo pipefail
. "$(dirname "$0")/checkout.sh"
run_python "$checkout/benchmarks/gpu_report.py" "$@"
