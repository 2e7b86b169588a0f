#!/usr/bin/env bash
# Searches for inputs with each target for SECONDS (60), and adds those that reach new code to the corpus.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$coverage cargo build --quiet --release --target "$host"
for target in http_answer wire_tasks machine_inputs drive_session; do
    found=target/found/$target
    mkdir -p "$found"
    program=target/$host/release/$target
    "$program" "$found" "corpus/$target" -max_total_time="$seconds" -max_len=2048 -timeout=10 \
        -artifact_prefix="corpus/$target/crash-" 2>&1 | tail -n 1
    "$program" -use_counters=0 -set_cover_merge=1 "corpus/$target" "$found" 2>&1 | tail -n 1
    echo "$target: $(find "corpus/$target" -type f | wc -l) inputs"
done
