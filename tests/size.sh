#!/usr/bin/env bash
# `./dev size`: what the runtime with all of its kernels adds to a program, stripped. Fails above 3 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/engine}
limit=$((3 * 1000 * 1000))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything is reached from here: kernels by the tables of instruction sets, operators by theirs.
strip -o "$work/program" "$build/tests/examples/run_model"
cp "$build/libounce.a" "$work/libounce.a"
strip --strip-unneeded "$work/libounce.a"

bytes() { stat -c %s "$1"; }
program=$(bytes "$work/program")
printf 'program that links libounce.a, stripped   %9d bytes\n' "$program"
printf 'libounce.a, stripped (with relocations)   %9d bytes\n' "$(bytes "$work/libounce.a")"
printf 'of the program, by kind:\n'
nm --size-sort --print-size --demangle "$build/tests/examples/run_model" | awk '
  function hex(text,   i, n) {
    for (i = 1; i <= length(text); ++i) n = n * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return n
  }
  {
    kind = "other"
    if (/N_AVX3_DL/) kind = "kernels avx512vnni"
    else if (/N_AVX3/) kind = "kernels avx512"
    else if (/N_AVX2/) kind = "kernels avx2"
    else if (/N_NEON/) kind = "kernels neon"
    else if (/N_SCALAR/) kind = "kernels portable"
    else if (/ounce::engine::reference/) kind = "reference operators"
    else if (/ounce::engine/) kind = "engine"
    else if (/ounce::formats|nlohmann/) kind = "reader of .ounce files"
    else if (/ounce::/) kind = "graph"
    size[kind] += hex($2)
  }
  END { for (kind in size) printf "  %9d  %s\n", size[kind], kind }' | sort -rn
if [ "$program" -gt "$limit" ]; then
  echo "more than $limit bytes" >&2
  exit 1
fi
