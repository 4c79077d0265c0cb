#!/usr/bin/env bash
# Injects every fault of docs/reliability.md in full counts, about an hour on two cores:
#
#   bash scripts/faults.sh [arguments of pytest, e.g. -k kill]
#
# PYTHON names the interpreter (default: python3), with the test extra installed.
set -euo pipefail
. "$(dirname "$0")/checkout.sh"
export ALEXNET_JAX_FAULTS=full PYTHON=${PYTHON:-python3}
run_python -m pytest -rA "$checkout/tests/faults" "$@"
