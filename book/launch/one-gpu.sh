#!/usr/bin/env bash
# One experiment on one GPU (or on the CPU where there is none).
#   bash one-gpu.sh mpa-fer-raf-db --profile paper --data-root /data
# Started again after a kill, it goes on from its checkpoint.
set -euo pipefail
exec python -m fer_core.cli run "$@"
