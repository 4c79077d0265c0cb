#!/usr/bin/env bash
# Runs all tests in a virtual environment of their own. Arguments go to pytest: bash scripts/test.sh -k resume
# PYTHON=python3.12 bash scripts/test.sh     tests on another interpreter.
# EXTRAS=test,torch bash scripts/test.sh     also runs the tests that compare with PyTorch, reported as skipped without.
# ALEXNET_JAX_PREPARE_PYTHON=PATH            an interpreter with the extra "prepare", for the tests that need TensorFlow.
set -euo pipefail
. "$(dirname "$0")/environment.sh"

make_environment test "${EXTRAS:-test}"
cd "$checkout"
install_plugin "$python"
# A file's tests stay in one process, so that its runs and compiled programs are made once; in order, as the last files
# are short. A process that dies is not replaced: with loadfile, pytest-xdist would then wait for ever.
"$python" -m pytest -rs --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder \
  --max-worker-restart=0 "$@"
