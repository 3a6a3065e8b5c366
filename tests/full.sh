#!/usr/bin/env bash
# What `./dev test --full` adds to the fast tests; with names of steps, only those:
#   slow       the slow tests
#   engine     the engine builds alone, includes nothing but the standard library and Highway, and is small
#   consumer   other projects find the installed package: in C++ and, with libounce.a alone, in C
#   sanitized  fast tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   threads    fast tests of kernels, sessions and C interface under ThreadSanitizer
#   arm64      engine and kernels built for 64-bit Arm and run by qemu-user
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

build() {
  [ -e "build/$1/build.ninja" ] || cmake --preset "$1" >/dev/null
  cmake --build "build/$1" "${@:2}"
}

check_engine_stands_alone() {
  if grep -rnE '#include *[<"](torch|ATen|c10|onnx|google/protobuf|opencv2|nlohmann|fmt|spdlog)' \
      src/graph src/engine; then
    echo "graph/ and engine/ may include the standard library and Highway only" >&2
    return 1
  fi
  build engine
  ctest --test-dir build/engine --output-on-failure --no-tests=error -L fast
  tests/size.sh build/engine
}

check_consumer() {
  local prefix=build/consumer/prefix
  rm -rf build/consumer
  cmake --install build/engine --prefix "$prefix" >/dev/null
  cmake -S tests/consumer -B build/consumer/build -G Ninja \
    -DCMAKE_PREFIX_PATH="$PWD/$prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
  cmake --build build/consumer/build
  build/release/ounce convert demo/models/vit.onnx -o build/consumer/vit.ounce
  build/consumer/build/consumer build/consumer/vit.ounce
  check_c_consumer "$prefix" build/consumer/vit.ounce
}

# The example in C: by CMake, and by the compiler alone with what pkg-config says.
check_c_consumer() {
  local prefix=$1 model=$2 pc
  cmake -S examples/c -B build/consumer/c -G Ninja -DCMAKE_PREFIX_PATH="$PWD/$prefix" >/dev/null
  cmake --build build/consumer/c
  build/consumer/c/run_model "$model"
  pc=$(dirname "$(find "$prefix" -name ounce.pc)")
  # shellcheck disable=SC2046  # flags are words
  cc -std=c99 examples/c/run_model.c -o build/consumer/run_model \
    $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs ounce)
  build/consumer/run_model "$model" 2
}

run_step() {
  case $1 in
    slow)
      step "slow tests"
      ctest --test-dir build/release --output-on-failure -L slow
      ;;
    engine)
      step "the engine alone"
      check_engine_stands_alone
      ;;
    consumer)
      step "an installed consumer"
      check_consumer
      ;;
    sanitized)
      step "AddressSanitizer and UndefinedBehaviorSanitizer"
      build asan
      ctest --test-dir build/asan --output-on-failure --no-tests=error -L fast -LE browser
      ;;
    threads)
      step "ThreadSanitizer"
      build tsan --target test_engine_kernels test_engine test_capi run_model write_small_model
      ctest --test-dir build/tsan --output-on-failure --no-tests=error \
        -R '^(test_engine_kernels|test_engine|test_capi|write_small_model|example_in_c)$'
      ;;
    arm64)
      step "64-bit Arm"
      build arm64
      ctest --test-dir build/arm64 --output-on-failure --no-tests=error -L fast
      ;;
    *)
      echo "no such step: $1 (slow, engine, consumer, sanitized, threads, arm64)" >&2
      return 2
      ;;
  esac
}

[ $# -gt 0 ] || set -- slow engine consumer sanitized threads arm64
for name in "$@"; do run_step "$name"; done
