#!/usr/bin/env bash
# The demo: both networks of this folder quantized to 8 bits, judged on pictures they have not seen,
# timed and reported; then a third one trained here, down to one bit. Usage: run.sh OUNCE_PROGRAM
# OUTPUT_FOLDER
set -euo pipefail
ounce=$1
out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rm -rf "$out"
mkdir -p "$out"

printf '\n== A detector (SiLU, 160 thousand parameters): boxes before and after\n'
"$ounce" quantize "$here/models/detector.onnx" -o "$out/detector" \
  --data "$here/pictures/detection/calibration" --method q-yolo --weights 8 --activations 8 \
  --eval-data "$here/pictures/detection/test.json"
picture=$(find "$here/pictures/detection/test" -name '*.jpg' | sort | head -n 1)
"$ounce" run "$out/detector/model.ounce" --input "$picture" -o "$out/detector/boxes.png"

printf '\n== A vision transformer (325 thousand parameters): top-1 before and after\n'
"$ounce" quantize "$here/models/vit.onnx" -o "$out/vit" \
  --data "$here/pictures/classification/calibration" --method minmax --weights 8 --activations 8 \
  --resize 64 --crop 64 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 \
  --eval-data "$here/pictures/classification/test"

printf '\n== A convolutional network (79 thousand parameters) trained here, in f32 and at one bit\n'
"$ounce" train "$here/train.toml" -o "$out/trained" --progress
"$ounce" bench "$out/trained/binary.ounce" --against "$out/trained/float.ounce" --runs 200

printf '\nReports that open in any browser:\n  %s\n  %s\n' \
  "$out/detector/report.html" "$out/vit/report.html"
