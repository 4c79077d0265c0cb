#!/usr/bin/env bash
# Prepares CIFAR-10 or ImageNet as a TFDS data set in ArrayRecord, with TFDS's own builders, from archives that you have
# downloaded (and not unpacked). TensorFlow goes into a virtual environment of its own; reading needs none.
#
#   bash scripts/prepare_tfds.sh cifar10 DIR-OF-cifar-10-binary.tar.gz [DATA_DIR]
#   bash scripts/prepare_tfds.sh imagenet2012 DIR-OF-THE-TWO-ILSVRC2012-TARS [DATA_DIR]
#
# DATA_DIR, by default ~/tensorflow_datasets, needs as much room as the archives.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
archives=$(realpath -- "$2")
data_dir=$(realpath -m -- "${3:-$HOME/tensorflow_datasets}")
. "$(dirname "$0")/environment.sh"

echo "Installing TensorFlow in an environment of its own ..."
make_environment prepare prepare
"$python" -m alexnet_jax.data.prepare "$1" "$archives" "$data_dir"
