#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# On a terminal there is a bar that fits its width; elsewhere --quiet says nothing at all, and a
# copy that takes no time prints no progress lines.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
requires script --version

head -c 8M /dev/urandom >"$tmp/raw"

{
    briq import --quiet "$tmp/raw" "$tmp/a.briq"
    briq export --quiet "$tmp/a.briq" "$tmp/a.raw"
    briq compact --quiet "$tmp/a.briq"
    briq check --quiet "$tmp/a.briq"
} >"$tmp/out" 2>&1
expect_equal "output of quiet verbs" "$(cat "$tmp/out")" ""

briq import "$tmp/raw" "$tmp/b.briq" >"$tmp/out" 2>"$tmp/err"
expect_equal "standard error of a short import" "$(cat "$tmp/err")" ""
grep -q '^Ratio' "$tmp/out" || fail "no result on standard output"

# On a terminal of 60 columns, with a source that gives its first half and then waits until the bar
# was seen.
mkfifo "$tmp/pipe" "$tmp/screen"
script -qefc "stty cols 60; briq import --size 8M - $tmp/c.briq <$tmp/pipe" "$tmp/screen" \
    >"$tmp/script.log" 2>&1 </dev/null &
pid=$!
cleanup kill_process "$pid"
exec {screen}<"$tmp/screen"
exec {writer}>"$tmp/pipe"
head -c 4M "$tmp/raw" >&"$writer"
seen=
while IFS= read -r -d $'\r' -t 30 -u "$screen" part; do
    case $part in *" MB/s"*) seen=$part && break ;; esac
done
[ -n "$seen" ] || fail "no bar was drawn"
tail -c 4M "$tmp/raw" >&"$writer"
exec {writer}>&-
cat <&"$screen" >"$tmp/rest"
wait "$pid"
seen=${seen//$'\e[K'/}
expect_match "bar" "$seen" "import *MiB*, * MB/s*"
[ ${#seen} -lt 60 ] || fail "the bar is ${#seen} columns wide on a terminal of 60"
grep -q 'Ratio' "$tmp/rest" || fail "no result on the terminal"
