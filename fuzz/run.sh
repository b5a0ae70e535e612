#!/usr/bin/env bash
# Fuzzes each target for SECONDS, or the targets named: fuzz/run.sh SECONDS [TARGET...]
#
# Stable Rust is enough: LLVM's coverage pass is asked for by hand. What a run learns stays in fuzz/target; what it
# crashes on is written to fuzz/crashes/TARGET, where ordinary tests replay it, and ends the run with an error.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(dns_message client_hello quic_initial http_head first_bytes packet capture feed)

host=$(rustc -vV | sed -n 's/^host: //p')
out=${FUZZ_TARGET_DIR:-$PWD/target}
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# With --target the flags keep away from build scripts, which have nothing to report coverage to.
RUSTFLAGS=$flags cargo build --locked --release --target "$host" --target-dir "$out"

failed=()
for target in "${targets[@]}"; do
    program=$out/$host/release/$target
    learned=$out/corpus/$target
    mkdir -p "$learned" "crashes/$target"
    echo "== $target, $seconds s"
    log=$out/$target.log
    # A leak check needs ptrace; nothing here frees by hand.
    if ! { find "crashes/$target" -type f -print0 | xargs -0 -r "$program" &&
        "$program" -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
            -detect_leaks=0 -artifact_prefix="crashes/$target/" "$learned" "corpus/$target"; } >"$log" 2>&1; then
        failed+=("$target")
        tail -n 40 "$log"
    fi
    grep -E '^stat::number_of_executed_units|^#[0-9]+.*DONE' "$log" || true
    rmdir --ignore-fail-on-non-empty "crashes/$target"
done
rmdir --ignore-fail-on-non-empty crashes 2>/dev/null || true

if [ ${#failed[@]} -gt 0 ]; then
    echo "crashed: ${failed[*]}; the inputs are in fuzz/crashes" >&2
    exit 1
fi
