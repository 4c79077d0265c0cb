# Sourced by the other scripts: makes a virtual environment with this checkout and some of its extras.
#
#   make_environment NAME EXTRAS    creates .venv-NAME-PYTHONVERSION in the checkout and sets $python to its interpreter
#   install_plugin PYTHON           adds the PJRT plugin that backends are tested with
#
# PYTHON chooses the interpreter, 3.11 to 3.13; default: the first suitable of python3 and python3.13 ... python3.11.

. "$(dirname "${BASH_SOURCE[0]}")/checkout.sh"

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

find_python() {
  local candidate candidates=(python3 python3.13 python3.12 python3.11 python)
  if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c "$supported" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "No Python 3.11, 3.12 or 3.13 found${PYTHON:+ at PYTHON=$PYTHON}; install one, or name it: PYTHON=/path/to/python3.12 bash $0" >&2
  return 2
}

make_environment() {
  local base version environment
  base=$(find_python) || exit 2
  version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  environment=$checkout/.venv-$1-$version
  python=$environment/bin/python
  # Without pip: Debian's Python leaves such an environment behind where python3-venv is not installed.
  if [ ! -x "$python" ] || ! "$python" -c "$supported" || ! "$python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$environment"
    "$base" -m venv "$environment"
  fi
  "$python" -m pip install -qq --upgrade pip
  (cd "$checkout" && "$python" -m pip install -qq --editable ".[$2]")
}

install_plugin() { # XLA's own for the CPU, from outside JAX's tree; --no-deps, or it would replace jax by an older one
  if [ "$(uname -sm)" = "Linux x86_64" ]; then
    "$1" -m pip install -qq --no-deps lammps-jax-pjrt-cpu==0.11.2
  else
    echo "Tests of PJRT plugins not run: the plugin they use exists for Linux on x86-64 only"
  fi
}
