#!/usr/bin/env bash
# Runs every libFuzzer target for a while, starting from the corpus: run.sh BUILD_FOLDER SECONDS
set -euo pipefail
build=$1
seconds=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -f "$target" ] && [ -x "$target" ] || continue
  name=$(basename "$target")
  found=$build/found/$name
  mkdir -p "$found"
  seeds=$here/corpus/${name#fuzz_}
  echo "== $name, $seconds s"
  # New inputs and crashes go to the build folder; the committed corpus stays as it is.
  "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -artifact_prefix="$found/crash-" "$found" ${seeds:+$([ -d "$seeds" ] && echo "$seeds")}
done
