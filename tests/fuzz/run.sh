#!/bin/sh
# Run one fuzzer for KUBUS_FUZZ_SECONDS (60), from its seeds, in a folder that is thrown away.
#     run.sh FUZZER SEEDS
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/corpus"
cd "$work"
if ! "$1" -max_total_time="${KUBUS_FUZZ_SECONDS:-60}" -rss_limit_mb=1024 -timeout=10 -max_len=16384 \
        -print_final_stats=1 corpus "$2" >log 2>&1; then
    tail -n 60 log
    for found in crash-* leak-* timeout-* oom-*; do
        [ -f "$found" ] || continue
        echo "the input, in base64:"
        base64 "$found"
    done
    exit 1
fi
grep -E 'number_of_executed_units|average_exec' log
