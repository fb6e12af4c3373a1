#!/usr/bin/env bash
# What this book wants to know of a GPU, on one GPU: tests, share of the matrix peak, how busy training keeps it, and the
# full records of the rendered sets. From the root of a checkout:
#   bash book/launch/gpu-figures.sh OUT
# OUT/busy.txt has the GPU's mean use while ViT-B/16 is fine-tuned, OUT/benches the reports, OUT/records the records.
set -euo pipefail
out=${1:?give a folder for the results}
mkdir -p "$out/benches" "$out/records"

python -m pytest -m gpu tests | tee "$out/tests.txt"

for batch in 32 64 128; do
    python -m fer_core.cli bench training --json --set device=cuda --set precision=bf16 --set backbone=ViT-B-16:random \
        --set "batch_size=$batch" >"$out/benches/training-$batch.json"
done
python -m fer_core.cli bench adapting --json --set device=cuda >"$out/benches/adapting.json"

nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits --loop=1 >"$out/utilisation.txt" &
watching=$!
trap 'kill "$watching" 2>/dev/null || true' EXIT
python -m fer_core.cli run full-fine-tuning-facs-still-8 --profile full --device cuda --records "$out/busy" \
    --set backbone=ViT-B-16:random --set training.batch_size=64 --set training.workers=8 --set training.epochs=3
kill "$watching"
# Seconds in which nothing was trained (start, rendering, evaluation between) are in it: the upper half is training.
sort -n "$out/utilisation.txt" | awk '{use[NR] = $1} END {for (i = int(NR / 2) + 1; i <= NR; i++) {sum += use[i]; n++}
    printf "mean use of the busier half of %d seconds: %.0f %%\n", NR, sum / n}' | tee "$out/busy.txt"

python -m fer_core.cli sweep '*-facs-*' --profile full --seed 0,1,2 --device cuda --records "$out/records"
