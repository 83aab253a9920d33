#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `briq info` tells size, ratio and state, as lines and as JSON with all its keys, also of a volume
# that another process has open, which it names.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version

info() {
    briq info --json "$tmp/disk.briq" | jq -r "$1"
}

briq create --accel 3 --limit 64M "$tmp/disk.briq" 32M
missing=$(info '["size","mapped","stored","ratio","file","clean","uuid","version","features",
    "segment","limit","accel","preallocated","fill","zero","meta","incarnation","generation",
    "owner"] - keys | join(" ")')
expect_equal "missing keys" "$missing" ""
expect_equal "size" "$(info .size)" $((32 << 20))
expect_equal "limit" "$(info .limit)" $((64 << 20))
expect_equal "accel" "$(info .accel)" 3
expect_equal "ratio of nothing" "$(info .ratio)" null
expect_equal "owner of a closed volume" "$(info .owner)" null
expect_equal "clean" "$(info .clean)" true

# 16 MiB of data, 1 MiB of one pattern, and a hole.
make_corpus "$tmp/raw" 16M
printf "abc\n%.0s" {1..262144} >>"$tmp/raw"
truncate -s 32M "$tmp/raw"
briq import --quiet --force "$tmp/raw" "$tmp/disk.briq"
fill=$(info .fill)
expect_equal "limit" "$(info .limit)" null
[ "$(info .mapped)" -ge $((16 << 20)) ] || fail "mapped is $(info .mapped)"
[ "$fill" -ge $((1 << 20)) ] || fail "same-filled is $fill"
expect_equal "ratio" "$(info .ratio)" \
    "$(jq -n "($(info .mapped) - $fill) / $(info .stored) * 1000 | round / 1000 |
        tostring | if contains(\".\") then (. + \"000\")[0:5] else . + \".000\" end" -r)"
[ "$(info .file)" -ge "$(info .stored)" ] || fail "the file takes less than what is stored"
[ "$(info .file)" -le "$(du --block-size=1 --apparent-size "$tmp/disk.briq" | cut -f1)" ] ||
    fail "the file takes more than its length"

briq info "$tmp/disk.briq" >"$tmp/lines"
expect_match "lines" "$(cat "$tmp/lines")" "*Size *32*MiB*Ratio*$(info .ratio)*UUID*$(info .uuid)*"
[ "$(info .uuid)" != "$(briq create "$tmp/b.briq" 1M && briq info --json "$tmp/b.briq" |
    jq -r .uuid)" ] || fail "two volumes have one uuid"
