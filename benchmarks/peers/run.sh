#!/usr/bin/env bash
# `./dev bench peers [ROUNDS [RUNS]]`: ounce against ONNX Runtime on the same files, one and two threads;
# and, on x86-64, products of one row against llama.cpp's.
#
# The networks are written by benchmark_models (random weights); where the data folder is present,
# the trained ViT-tiny joins them. Each is quantized by the same command, and both runtimes run both
# the float file and the quantized one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-5}
runs=${2:-20}
work=build/bench
ounce=build/release/ounce
data=${OUNCE_DATA:-../shared/data}

mkdir -p "$work/models"
build/release/benchmarks/benchmark_models "$work/models" resnet18 mobilenet_v2 deit_s
vit=$data/vit_tiny_in1k/vit_tiny_patch16_224.onnx
if [ -e "$vit" ]; then cp "$vit" "$work/models/vit_tiny.onnx"; fi

arguments=()
for file in "$work"/models/{resnet18,mobilenet_v2,deit_s,vit_tiny}.onnx; do
  [ -e "$file" ] || continue
  name=$(basename "$file" .onnx)
  "$ounce" quantize "$file" -o "$work/$name" --data demo/pictures/detection/calibration \
    --calibration 16 --compare 0 --runs 5 --method minmax --resize 224 --crop 224 >/dev/null
  arguments+=("$name=$file:$work/$name/model.onnx")
done
node benchmarks/peers/table.mjs "$ounce" "$rounds" "$runs" 1,2 "${arguments[@]}"
if [ -d benchmarks/peers/llama/node_modules ]; then
  echo
  node benchmarks/peers/llama/table.mjs build/release/benchmarks/kernels "$rounds" "$work"
fi
