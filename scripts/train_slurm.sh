#!/usr/bin/env bash
# A SLURM job: one process a node, each with the node's devices. JAX reads the rest from SLURM's variables.
#
#   sbatch --nodes=4 scripts/train_slurm.sh --config configs/imagenet.py --config.data.path=DIR --workdir DIR
#
# The workdir must be on a file system that all nodes share. A job that is requeued continues from its checkpoint.
#SBATCH --job-name=alexnet
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
set -euo pipefail
exec srun --kill-on-bad-exit=1 "${PYTHON:-python3}" -m alexnet_jax.main "$@"
