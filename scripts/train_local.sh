#!/usr/bin/env bash
# Trains with N processes on this machine, as one job:
#
#   bash scripts/train_local.sh N --config configs/digits.py [...]
#
# PYTHON names the interpreter (default: python3), COORDINATOR the address (default: 127.0.0.1 and a free port).
# If one process fails, the others are ended, and the exit status is 1; 2 if the request was wrong. SIGTERM and SIGINT
# go on to the processes, which save and end together, with status 143 or 130.
set -uo pipefail

python=${PYTHON:-python3}
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash scripts/train_local.sh N --config FILE [...]; got N='${1:-}', not a number of processes" >&2
  exit 2
fi
count=$1
shift
free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
coordinator=${COORDINATOR:-127.0.0.1:$("$python" -c "$free_port")}

processes=()
stopped=0
trap 'kill "${processes[@]}" 2>/dev/null' EXIT
trap 'stopped=1; kill "${processes[@]}" 2>/dev/null' INT TERM
for ((id = 0; id < count; id++)); do
  "$python" -m alexnet_jax.main "$@" --config.distributed.coordinator="$coordinator" \
    --config.distributed.num_processes="$count" --config.distributed.process_id="$id" &
  processes+=($!)
done

for ((left = count; left > 0; left--)); do
  wait -n -p ended "${processes[@]}"
  status=$?
  for place in "${!processes[@]}"; do
    [ "${processes[place]}" = "${ended:-}" ] && unset "processes[place]"
  done
  if [ "$stopped" = 1 ] || [ "$status" = 143 ] || [ "$status" = 130 ]; then
    wait "${processes[@]}" # told to stop, they save and end together; another signal would cut that short
    exit $?
  fi
  if [ "$status" -ne 0 ]; then
    echo "a process ended with status $status; ending the others" >&2
    [ "$status" -eq 2 ] && exit 2
    exit 1
  fi
done
