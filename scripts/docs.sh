#!/usr/bin/env bash
# Builds the documentation site, with warnings as errors, in a virtual environment of its own: bash scripts/docs.sh
# Open build/docs/index.html. Arguments go to sphinx-build: bash scripts/docs.sh -E builds every page again.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
make_environment docs docs
cd "$checkout"
JAX_PLATFORMS=cpu "$python" -m sphinx --quiet --fail-on-warning --keep-going -c docs "$@" . build/docs
echo "build/docs/index.html"
