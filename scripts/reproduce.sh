#!/usr/bin/env bash
# Repeats a finished run from its run card and compares what came of it:
#
#   bash scripts/reproduce.sh runs/digits/run.json [WORKDIR]
#
# WORKDIR (default: beside the run, with -again) must not hold a run. PYTHON names the interpreter (default: python3).
# Exit status: 0 the same to the last digit, 1 not, with what differs, 2 the request was wrong.
set -euo pipefail

python=${PYTHON:-python3}
card=${1:-}
if [ ! -f "$card" ]; then
  echo "usage: bash scripts/reproduce.sh RUN.json [WORKDIR]; got '$card', which is no file" >&2
  exit 2
fi
card=$(realpath -- "$card") # its directory has a name also from inside
workdir=${2:-$(dirname "$card")-again}
if [ -e "$workdir" ]; then
  echo "$workdir exists; name another directory: bash scripts/reproduce.sh $card WORKDIR" >&2
  exit 2
fi
recipe=$(mktemp -d)/repeated.py
trap 'rm -r "$(dirname "$recipe")"' EXIT
cat >"$recipe" <<'PYTHON'
import json
import os
import pathlib

from alexnet_jax.config import default_config


def _set(section, values):
    for name, value in values.items():
        if isinstance(value, dict) and name in section:
            _set(section[name], value)
        else:
            section[name] = tuple(value) if isinstance(value, list) else value


def get_config():
    config = default_config()
    _set(config, json.loads(pathlib.Path(os.environ["ALEXNET_JAX_CARD"]).read_text())["config"])
    return config
PYTHON
ALEXNET_JAX_CARD=$card "$python" -m alexnet_jax.main --config "$recipe" --workdir "$workdir"
"$python" - "$card" "$workdir/run.json" <<'PYTHON'
import json
import pathlib
import sys

before, after = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:])
print()
for part in ("versions", "device", "precision", "parallelism", "data_fingerprint"):
    if before.get(part) != after.get(part):
        print(f"{part} differs: {before.get(part)} then, {after.get(part)} now")
same = before["final"] == after["final"]
for name, value in before["final"].items():
    now = after["final"].get(name)
    print(f"{name:15} {value!r:24} {now!r:24} {'same' if now == value else 'DIFFERS'}")
print("the same to the last digit" if same else "not the same")
sys.exit(not same)
PYTHON
