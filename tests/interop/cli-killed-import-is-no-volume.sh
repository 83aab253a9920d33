#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# SIGKILL ends an import that nobody can clean up after. What is left under the name is refused by
# whoever would use it, in one line that says what to do, and doing that works. Nothing else is left.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"

refusal="*$tmp/disk.briq: is half a volume: *import it again with --force"

mkfifo "$tmp/pipe"
head -c 64M /dev/urandom >"$tmp/raw"

# kill_import MEGABYTES: an import that is killed after it has read so much; a pipe holds less.
kill_import() {
    local pid writer
    briq import --quiet --force "$tmp/pipe" "$tmp/disk.briq" &
    pid=$!
    exec {writer}>"$tmp/pipe"
    head -c "$1M" "$tmp/raw" >&"$writer"
    kill_process $pid
    exec {writer}>&-
}

# Append windows would be of no use to anybody.
no_windows_left() {
    local file
    file=$(printf '%s.%x' "$(stat -c %D "$tmp/disk.briq")" "$(stat -c %i "$tmp/disk.briq")")
    expect_equal "windows" "$(compgen -G "/dev/shm/briq-*-$file")" ""
}

for megabytes in 2 40; do
    kill_import $megabytes
    [ -e "$tmp/disk.briq" ] || fail "the import had not begun"
    no_windows_left
    expect_failure 2 briq compact "$tmp/disk.briq"
    expect_match "compact" "$said" "$refusal"
    expect_failure 2 briq export --quiet "$tmp/disk.briq" "$tmp/out"
    expect_match "export" "$said" "$refusal"
    [ ! -e "$tmp/out" ] || fail "half a volume was exported"
    expect_failure 2 briq check --repair "$tmp/disk.briq"
    expect_match "check --repair" "$said" "$refusal"
    expect_equal "info" "$(briq info --json "$tmp/disk.briq" | grep -c '"unfinished": *true')" 1
    try_nbdkit half briq "$tmp/disk.briq" && fail "half a volume is served"
    expect_match "the server" "$(cat "$tmp/half.log")" "*is half a volume*"
    rm "$tmp/half.log"
    expect_failure 2 briq import --quiet "$tmp/raw" "$tmp/disk.briq"
    expect_match "another import" "$said" "*exists already*"
done

briq import --quiet --force "$tmp/raw" "$tmp/disk.briq"
briq check --deep "$tmp/disk.briq" >/dev/null
briq export --quiet "$tmp/disk.briq" - | cmp - "$tmp/raw"
expect_equal "info" "$(briq info --json "$tmp/disk.briq" | grep -c '"unfinished": *false')" 1
no_windows_left
