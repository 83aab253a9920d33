# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# functions.sh - what a shell test is written with. A test begins with
#     source "$BRIQ_SOURCE/tests/lib/functions.sh"
# and has then `set -eu`, a directory of its own in $tmp that goes away whatever happens, and:
#   requires COMMAND...      skips the test unless the command succeeds
#   skip REASON              ends the test as skipped
#   fail REASON              ends the test as failed
#   cleanup COMMAND...       runs the command when the test ends; the last one given runs first
#   start_nbdkit NAME ARG... starts `nbdkit ARG...` on the socket $tmp/NAME.sock, waits until it
#                            serves; then $NAME_uri and $NAME_pid are set. It ends with the test.
#   stop_process PID         SIGTERM, and waits until the process is gone
#   wait_gone PID            waits until a process that is not a child is gone
#   expect_failure N COMMAND...  the command must exit with N; what it said is then in $said
set -eu

tmp=$(mktemp -d "${TMPDIR:-/tmp}/briq.XXXXXX")
cleanup_commands=()

cleanup() {
    cleanup_commands+=("$(printf '%q ' "$@")")
}

run_cleanups() {
    local status=$? i
    trap '' INT TERM
    set +e
    for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
        eval "${cleanup_commands[i]}"
    done
    rm -rf "$tmp"
    exit "$status"
}
trap run_cleanups EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

skip() {
    echo "$*"
    exit 77
}

fail() {
    echo "$0: $*" >&2
    exit 1
}

requires() {
    "$@" </dev/null >/dev/null 2>&1 || skip "needs: $*"
}

# A process that is not our child cannot be waited for by its shell; tail can.
wait_gone() {
    tail --pid="$1" -f /dev/null
}

stop_process() {
    kill "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || wait_gone "$1"
}

start_nbdkit() {
    local name=$1
    shift
    local socket=$tmp/$name.sock ready=$tmp/$name.ready pid
    # nbdkit opens its pid file once it accepts connections: reading the pipe waits for just that,
    # and meets the end of file when nbdkit died before.
    mkfifo "$ready"
    nbdkit -f -U "$socket" -P "$ready" "$@" &
    pid=$!
    cleanup stop_process "$pid"
    wait_ready "$ready" "$pid" || fail "nbdkit did not start: nbdkit $*"
    rm "$ready"
    printf -v "${name}_pid" %s "$pid"
    printf -v "${name}_uri" %s "nbd+unix:///?socket=$socket"
}

# Opens for reading and writing: opening cannot block then, and `read` gives up with the process.
wait_ready() {
    local fd
    exec {fd}<>"$1"
    until read -r -t 0.2 -u "$fd" _; do
        kill -0 "$2" 2>/dev/null || return 1
    done
    exec {fd}>&-
}

expect_failure() {
    local want=$1 got=0
    shift
    said=$("$@" 2>&1) || got=$?
    [ "$got" -eq "$want" ] || fail "exit $got and not $want from: $* (it said: $said)"
}
