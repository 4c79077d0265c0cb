#!/usr/bin/env bash
# Injects every fault of docs/reliability.md in full counts, about half an hour on two cores:
#
#   bash scripts/faults.sh [arguments of pytest, e.g. -k kill]
#
# PYTHON names the interpreter (default: python3), with the test extra installed.
set -euo pipefail
cd "$(dirname "$0")/.."
ALEXNET_JAX_FAULTS=full "${PYTHON:-python3}" -m pytest -rA tests/faults "$@"
