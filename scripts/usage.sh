# Sourced by the scripts that start the trainer:
#
#   need COUNT NAMES "$@"       ends the script with a line of usage and status 2 where there are fewer than COUNT
#   train CONFIG [FLAGS...]     goes on as the trainer; a recipe that is no file here is the checkout's

. "$(dirname "${BASH_SOURCE[0]}")/checkout.sh"

need() {
  local count=$1 names=$2
  shift 2
  if [ $# -lt "$count" ]; then
    echo "usage: bash $0 $names [--config.KEY=VALUE ...]; got $# of $count arguments" >&2
    exit 2
  fi
}

train() {
  local recipe=$1 file=${1%%:*}
  if [ ! -f "$file" ] && [ -f "$checkout/$file" ]; then recipe=$checkout/$1; fi
  run_python -m alexnet_jax.main --config "$recipe" "${@:2}"
}
