# Sourced by the other scripts, which may be started anywhere: the user's paths stay as they are, so nothing changes the
# directory before it has used them. Sets $checkout, and has
#
#   run_python ARGUMENTS...    goes on as the interpreter that PYTHON names (default: python), with this checkout's package
#   from_here PATH             prints an absolute path, or where it is below the current directory, from there

checkout=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

run_python() {
  PYTHONPATH=$checkout${PYTHONPATH:+:$PYTHONPATH} exec "${PYTHON:-python}" "$@"
}

from_here() {
  echo "${1#"$PWD/"}"
}
