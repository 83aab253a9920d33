#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A signal ends an export, whatever it waits for: exit code 2, one line, no half file, and the volume
# is as it was. An export to standard output dies of the signal like any filter.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
requires nbdkit --filter=delay null --dump-plugin
requires qemu-nbd --version
slow_uri='' slow_pid='' # start_nbdkit sets them

head -c 8M /dev/urandom | briq import --quiet - "$tmp/disk.briq"
sum=$(sha256sum <"$tmp/disk.briq")

# The signal is there before briq is: it is blocked, sent, and then the shell becomes briq.
interrupted() {
    # shellcheck disable=SC2016 # the inner shell expands
    env --block-signal=TERM bash -c 'kill -TERM $$; exec briq export --quiet "$@"' - "$@"
}

for format in raw qcow2; do
    expect_failure 2 interrupted --format $format "$tmp/disk.briq" "$tmp/out"
    expect_equal "message" "$said" "briq export: interrupted by SIGTERM"
    [ ! -e "$tmp/out" ] || fail "half a file is left"
done
: >"$tmp/out"
expect_failure 2 interrupted --force "$tmp/disk.briq" "$tmp/out"
[ ! -e "$tmp/out" ] || fail "half a file is left in place of the old one"

# A server that takes an hour for each write; its log is a pipe, so that we see it has one.
mkfifo "$tmp/log"
exec {log}<>"$tmp/log"
start_nbdkit slow --filter=log --filter=delay memory 1G wdelay=3600 logfile="$tmp/log"
cleanup kill_process "$slow_pid"
briq export --quiet "$tmp/disk.briq" "$slow_uri" 2>"$tmp/said" &
pid=$!
while read -r -u "$log" line; do
    case $line in *" Write "*) break ;; esac
done
status=0
kill -TERM $pid
wait $pid || status=$?
expect_equal "exit code" "$status" 2
expect_equal "message" "$(cat "$tmp/said")" "briq export: interrupted by SIGTERM"

# A pipe that nobody empties.
mkfifo "$tmp/pipe"
exec {pipe}<>"$tmp/pipe"
briq export --quiet "$tmp/disk.briq" - >"$tmp/pipe" &
pid=$!
head -c 100 <&"$pipe" >"$tmp/first"
status=0
kill -TERM $pid
wait $pid || status=$?
expect_equal "exit code" "$status" 143

expect_equal "volume" "$(sha256sum <"$tmp/disk.briq")" "$sum"
