#!/bin/sh
# Run one fuzzer from its seeds, in one of two ways:
#     run.sh FUZZER SEEDS RUNS              repeats: so many inputs, the same for the same program.
#                                           What fails once fails again (http and logs: nearly
#                                           the same, they meet a kernel).
#     run.sh FUZZER SEEDS explore SECONDS   explores: other inputs each time. What it learnt stays in
#                                           corpus/, and what it found in found/, beside bin/.
set -eu
fuzzer=$1 seeds=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
words=$(dirname "$seeds")/../dict/$(basename "$seeds")
[ -f "$words" ] && words=-dict=$words || words=
if [ "$3" = explore ]; then
    build=$(dirname "$(dirname "$fuzzer")")
    corpus=$build/corpus/$(basename "$fuzzer") found=$build/found/$(basename "$fuzzer")
    set -- -max_total_time="$4"
    unmoved=
else
    corpus=$work/corpus found=$work/found
    set -- -runs="$3" -seed=1 -reload=0
    # Addresses of code are part of what a fuzzer learns. Not every container lets them be fixed.
    unmoved=$(setarch -R echo 'setarch -R' 2>/dev/null) || unmoved=
fi
mkdir -p "$corpus" "$found"
if ! $unmoved "$fuzzer" -rss_limit_mb=1024 -timeout=10 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$found/" ${words:+"$words"} "$@" "$corpus" "$seeds" >"$work/log" 2>&1; then
    tail -n 60 "$work/log"
    for input in "$found"/*; do
        [ -f "$input" ] || continue
        echo "the input $(basename "$input"), in base64:"
        base64 "$input"
    done
    exit 1
fi
grep -E 'number_of_executed_units|average_exec' "$work/log"
