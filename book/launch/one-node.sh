#!/usr/bin/env bash
# One experiment on all GPUs of this machine: each process takes its share of every batch, so settings and results are
# those of one GPU.
#   bash one-node.sh full-fine-tuning-ferplus --profile paper --data-root /data
# PROCESSES=2 DEVICE=cpu bash one-node.sh ... tries it out without a GPU.
set -euo pipefail
PROCESSES=${PROCESSES:-$(nvidia-smi --list-gpus | wc -l)}
exec python -m torch.distributed.run --standalone --nproc-per-node "$PROCESSES" \
    -m fer_core.cli run "$@" --device "${DEVICE:-auto}"
