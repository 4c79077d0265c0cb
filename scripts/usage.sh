# Sourced by the scripts that take arguments:
#
#   need COUNT NAMES "$@"    ends the script with a line of usage and status 2 where there are fewer than COUNT

need() {
  local count=$1 names=$2
  shift 2
  if [ $# -lt "$count" ]; then
    echo "usage: bash $0 $names [--config.KEY=VALUE ...]; got $# of $count arguments" >&2
    exit 2
  fi
}
