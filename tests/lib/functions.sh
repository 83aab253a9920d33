# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# functions.sh - what a shell test is written with. A test is started by ./run and begins with
#     source "$BRIQ_SOURCE/tests/lib/functions.sh"
# It has then `set -eu -o pipefail`, a directory of its own in $tmp that goes away whatever happens,
# the seed of its random choices in $seed (BRIQ_SEED repeats a run), and:
#   requires COMMAND...      skips the test unless the command succeeds
#   requires_module NAME     skips the test unless $PYTHON has the module
#   nbdsh ARG...             libnbd's shell
#   skip REASON              ends the test as skipped
#   fail REASON              ends the test as failed
#   cleanup COMMAND...       runs the command when the test ends; the last one given runs first
#   expect_failure N COMMAND...  the command must exit with N; what it said is then in $said
#   expect_equal WHAT GOT WANTED, expect_match WHAT TEXT GLOB   end the test unless it is so
#   start_nbdkit NAME ARG... starts `nbdkit ARG...` on the socket $tmp/NAME.sock, waits until it
#                            serves; then $NAME_uri and $NAME_pid are set. It ends with the test.
#   try_nbdkit NAME ARG...   the same, but returns 1 when nbdkit did not start
#   stop_process PID         SIGTERM, waits until the process is gone, returns its exit status
#   kill_process PID         the same with SIGKILL, always 0
#   wait_gone PID            waits until a process that is not a child is gone
# What nbdkit says goes to $tmp/NAME.log, and is shown when the test fails.
set -eu -o pipefail

PYTHON=${PYTHON:-/usr/bin/python3} # Debian's: the one that has libnbd's module
seed=${BRIQ_SEED:-$((RANDOM << 15 | RANDOM))}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/briq.XXXXXX")
# Daemons of this test are not found by others, nor theirs by it.
export BRIQ_RUN_DIR=$tmp/run
cleanup_commands=()

cleanup() {
    cleanup_commands+=("$(printf '%q ' "$@")")
}

# Whoever was killed with a volume of this test open has left its append windows in /dev/shm, in a
# file that names the device and inode of the volume.
remove_windows() {
    local device inode
    find "$tmp" -type f -printf '%D %i\n' | while read -r device inode; do
        rm -f /dev/shm/briq-*-"$(printf '%x.%x' "$device" "$inode")"
    done
}

run_cleanups() {
    local status=$? i
    trap '' INT TERM
    set +e
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        echo "seed: $seed" >&2
        tail -n 20 "$tmp"/*.log >&2 2>/dev/null
    fi
    for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
        eval "${cleanup_commands[i]}"
    done
    remove_windows
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

# Through $PYTHON, not through what `python3` is in PATH.
nbdsh() {
    "$PYTHON" -m nbd "$@"
}

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

requires() {
    "$@" </dev/null >/dev/null 2>&1 || skip "needs: $*"
}

requires_module() {
    requires "$PYTHON" -c "import $1"
}

expect_failure() {
    local want=$1 got=0
    shift
    said=$("$@" 2>&1) || got=$?
    [ "$got" -eq "$want" ] || fail "exit $got and not $want from: $* (it said: $said)"
}

expect_equal() {
    [ "$2" = "$3" ] || fail "$1 is '$2' and not '$3'"
}

expect_match() {
    # shellcheck disable=SC2053 # a glob is meant
    [[ $2 == $3 ]] || fail "$1 is '$2', which is not like '$3'"
}

# A process that is not our child cannot be waited for by its shell; tail can.
wait_gone() {
    tail --pid="$1" -f /dev/null
}

stop_process() {
    kill "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null
}

kill_process() {
    kill -KILL "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}

# nbdkit writes its process id to the pipe once its socket listens. It also holds the pipe open as
# descriptor 9 for as long as it lives: when it ends before that, the read meets the end of file. So
# this waits for one of two events, and never polls.
try_nbdkit() {
    local name=$1 ready=$tmp/$1.ready socket=$tmp/$1.sock pid pipe line=
    shift
    rm -f "$ready" "$socket"
    mkfifo "$ready"
    # shellcheck disable=SC2094 # one end each
    nbdkit -f -U "$socket" -P "$ready" "$@" 9>"$ready" 2>>"$tmp/$name.log" &
    pid=$!
    exec {pipe}<"$ready"
    read -r -u "$pipe" line || true
    exec {pipe}<&-
    rm "$ready"
    if [ -z "$line" ]; then
        wait "$pid" 2>/dev/null || true
        return 1
    fi
    cleanup kill_process "$pid"
    printf -v "${name}_pid" %s "$pid"
    printf -v "${name}_uri" %s "nbd+unix:///?socket=$socket"
}

start_nbdkit() {
    try_nbdkit "$@" || fail "nbdkit did not start: nbdkit ${*:2}"
}
