#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# SIGTERM, SIGINT and SIGHUP end an import, whatever it waits for: exit code 2, one line that names
# the signal, and no half volume under the name.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
requires nbdkit --filter=delay null --dump-plugin
requires nbdkit --filter=log null --dump-plugin
slow_uri="" slow_pid="" # start_nbdkit sets them

# end_import SIGNAL PID: the import in the background, of which the messages are in $tmp/said
end_import() {
    local status=0
    kill -"$1" "$2"
    wait "$2" || status=$?
    expect_equal "exit code after SIG$1" "$status" 2
    expect_equal "message" "$(cat "$tmp/said")" "briq import: interrupted by SIG$1"
    [ ! -e "$tmp/disk.briq" ] || fail "half a volume is left after SIG$1"
}

# To be run in the background. Jobs of a script ignore SIGINT, which `briq` would inherit; env gives
# it back.
import() {
    exec env --default-signal=INT briq import --quiet "$@" "$tmp/disk.briq" 2>"$tmp/said"
}

# A pipe that goes silent. What was written of it is more than a pipe holds: the import reads.
mkfifo "$tmp/pipe"
for signal in TERM INT HUP; do
    import - <"$tmp/pipe" &
    pid=$!
    exec {writer}>"$tmp/pipe"
    head -c 40M /dev/urandom >&"$writer"
    [ -e "$tmp/disk.briq" ] || fail "the import has not begun"
    end_import $signal $pid
    exec {writer}>&-
done

# A pipe that gets nothing. To open it for writing waits for the reader.
import "$tmp/pipe" &
pid=$!
exec {writer}>"$tmp/pipe"
end_import TERM $pid
exec {writer}>&-

# An NBD server that takes an hour for each read; its log is a pipe, so that we see it has one.
mkfifo "$tmp/log"
exec {log}<>"$tmp/log"
start_nbdkit slow --filter=log --filter=delay pattern 1G rdelay=3600 logfile="$tmp/log"
cleanup kill_process "$slow_pid"
import "$slow_uri" &
pid=$!
while read -r -u "$log" line; do
    case $line in *" Read "*) break ;; esac
done
end_import TERM $pid

# With --force the old volume is gone already; half of the new one must not take its place.
briq create "$tmp/disk.briq" 1M
import --force - <"$tmp/pipe" &
pid=$!
exec {writer}>"$tmp/pipe"
head -c 40M /dev/zero >&"$writer"
end_import TERM $pid
