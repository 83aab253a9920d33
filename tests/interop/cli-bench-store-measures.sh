#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `briq bench store` does what it measures: a small run ends with every figure in it, finite and
# above zero, and leaves no file. Nor does one that is ended before.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version

make_corpus "$tmp/raw" 72M
all_positive='[.write[], .read[] | .ratio, .cpu_ratio, .store_scaling, .bare_scaling,
    .bare.ops_per_s, .bare.wall_ns, .bare.cpu_ns, .store.ops_per_s, .store.wall_ns, .store.cpu_ns] +
    [.ratio, .gc.cost, .gc.cost_steady, .gc.live, .gc.appended / .gc.limit - 2.9] |
    all(type == "number" and . > 0)'

for volume in mem: "$tmp/bench.briq"; do
    briq bench store --quiet --json --image "$tmp/raw" --size 64M --rounds 1 --threads 1,2 \
        --volume "$volume" >"$tmp/result"
    expect_equal "figures with $volume" "$(jq "$all_positive" "$tmp/result")" true
    expect_equal "working set" "$(jq .working_set "$tmp/result")" $((64 << 20))
    [ ! -e "$tmp/bench.briq" ] || fail "the volume was left"
done

expect_failure 2 briq bench store --image "$tmp/none"
expect_match "message" "$(tail -n 1 <<<"$said")" "briq bench: $tmp/none: No such file*"
expect_failure 2 briq bench store --size 1M
expect_match "message" "$said" "briq bench: --size: 1M is not between 64 MiB and 1 TiB"
: >"$tmp/mine"
expect_failure 2 briq bench store --quiet --image "$tmp/raw" --size 64M --volume "$tmp/mine"
[ -e "$tmp/mine" ] || fail "a file that was there was removed"

# It says what it does next, and the volume is there by then.
mkfifo "$tmp/phases"
briq bench store --image "$tmp/raw" --size 64M --volume "$tmp/bench.briq" >"$tmp/out" 2>"$tmp/phases" &
bench=$!
cleanup kill_process "$bench"
exec {phases}<"$tmp/phases"
while read -r -u "$phases" phase; do
    [ "$phase" != "bench: random writes of 4 KiB" ] || break
done
kill -TERM "$bench"
expect_equal "last words" "$(cat <&"$phases")" "briq bench: interrupted by SIGTERM"
status=0
wait "$bench" || status=$?
expect_equal "exit status" "$status" 2
[ ! -e "$tmp/bench.briq" ] || fail "the volume was left"
