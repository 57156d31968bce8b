#!/bin/sh
# Runs a fuzz target: run.sh TARGET [ARGUMENTS OF LIBFUZZER], for instance
#   tests/fuzz/run.sh http2 -max_total_time=3600
# What is interesting is kept in target/fuzz/TARGET, from run to run; it begins with seeds/TARGET.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$1
shift
mkdir -p "$root/target/fuzz/$target"
seeds=$here/seeds/$target
[ -d "$seeds" ] || seeds=
dictionary=$here/$target.dict
[ -f "$dictionary" ] || dictionary=
sancov="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
sancov="$sancov -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
sancov="$sancov -Cllvm-args=-sanitizer-coverage-pc-table"
sancov="$sancov -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, build scripts are built without the counters.
RUSTFLAGS="$sancov --cfg fuzzing -Coverflow-checks" exec cargo run --release \
    --manifest-path "$here/Cargo.toml" --target x86_64-unknown-linux-gnu \
    --target-dir "$root/target/fuzz-build" --bin "$target" -- \
    ${dictionary:+"-dict=$dictionary"} "$root/target/fuzz/$target" ${seeds:+"$seeds"} "$@"
