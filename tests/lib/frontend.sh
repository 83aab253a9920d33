# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# frontend.sh - serving volumes over NBD, whichever server is under test: $BRIQ_FRONTEND, which is
# nbdkit (the default), serve (briq serve), or serve-threads (the same with its engine that needs no
# io_uring). The tests of tests/interop/ know a server only by these:
#   serve_volume [--read-only] [KEY=VALUE]... VOLUME...
#                  serves the volumes, each under the export name that its file name gives, and
#                  waits until clients can connect. KEY=VALUE are the plugin's parameters (io=,
#                  windows-dir= ...). Sets $uri (the default export) and $server_pid. The append
#                  windows of the volumes lie in $windows, which goes away with the test, unless
#                  windows-dir= or windows-file= says otherwise.
#   try_serve_volume ...        the same, but returns 1 when the server did not start
#   serve_volume_refused ...    it must not start; what it said is then in $said
#   uri_of EXPORT               prints the URI of an export
#   stop_server                 SIGTERM; fails the test unless the server ends with 0
#   kill_server                 SIGKILL, and waits until it is gone
#   server_log                  what the server has said since serve_volume
#   requires_frontend NAME      skips the test when another server is under test
source "$BRIQ_SOURCE/tests/lib/functions.sh"
source "$BRIQ_SOURCE/tests/lib/data.sh"

BRIQ_FRONTEND=${BRIQ_FRONTEND:-nbdkit}
command -v briq >/dev/null || fail "there is no briq: run this through ./run, after make"
# shellcheck disable=SC2034 # for the tests
uri=
server_pid=

windows=$(mktemp -d -p /dev/shm briq-test.XXXXXX)
cleanup rm -rf "$windows"

requires_frontend() {
    case $BRIQ_FRONTEND in
    "$1" | "$1"-*) ;;
    *) skip "is about $1, and $BRIQ_FRONTEND is under test" ;;
    esac
}

serve_with_nbdkit() {
    local options=() parameters=() word where=windows-dir=$windows
    for word in "$@"; do
        case $word in
        --read-only) options+=(-r) ;;
        *) parameters+=("$word") ;;
        esac
        case $word in windows-*) where= ;; esac
    done
    try_nbdkit server ${options[@]+"${options[@]}"} briq ${where:+"$where"} "${parameters[@]}" || return 1
    # shellcheck disable=SC2034,SC2154 # try_nbdkit sets server_pid and server_uri
    uri=$server_uri
}

# The plugin's parameters as options of `briq serve`, in $options; export=NAME names the volume
# before it, in $volumes.
translate_parameters() {
    local word
    options=()
    volumes=()
    for word in "$@"; do
        case $word in
        --*) options+=("$word") ;;
        windows-file=off) options+=(--no-windows-file) ;;
        windows-file=on) ;;
        export=*) volumes[-1]=${word#export=}=${volumes[-1]} ;;
        io=* | cache=* | accel=* | streams=* | windows-dir=*) options+=("--$word") ;;
        *) volumes+=("$word") ;;
        esac
    done
}

# The server prints the URI once it can be connected to. It holds the pipe open as its standard
# output: when it ends before that, the read meets the end of file.
serve_with_briq() {
    local options volumes ready=$tmp/server.ready pipe line='' word where=--windows-dir=$windows
    for word in "$@"; do
        case $word in windows-*) where= ;; esac
    done
    translate_parameters "$@"
    rm -f "$ready"
    mkfifo "$ready"
    briq serve --engine "$engine" --verbose --print-uri --nbd "unix:$tmp/server.sock" \
        ${where:+"$where"} ${options[@]+"${options[@]}"} "${volumes[@]}" >"$ready" 2>>"$tmp/server.log" &
    server_pid=$!
    exec {pipe}<"$ready"
    read -r -u "$pipe" line || true
    exec {pipe}<&-
    rm "$ready"
    if [ -z "$line" ]; then
        wait "$server_pid" 2>/dev/null || true
        return 1
    fi
    cleanup kill_process "$server_pid"
    # shellcheck disable=SC2034 # for the test
    uri=$line
}

try_serve_volume() {
    local engine
    rm -f "$tmp/server.log"
    case $BRIQ_FRONTEND in
    nbdkit) serve_with_nbdkit "$@" ;;
    serve) engine=ring serve_with_briq "$@" ;;
    serve-threads) engine=threads serve_with_briq "$@" ;;
    *) fail "BRIQ_FRONTEND=$BRIQ_FRONTEND: there is no such frontend" ;;
    esac
}

serve_volume() {
    try_serve_volume "$@" || fail "the server did not start: $*"
}

serve_volume_refused() {
    if try_serve_volume "$@"; then
        fail "the server started, and should have refused: $*"
    fi
    # shellcheck disable=SC2034 # for the test
    said=$(server_log)
}

uri_of() {
    echo "nbd+unix:///$1?socket=$tmp/server.sock"
}

server_log() {
    cat "$tmp/server.log"
}

stop_server() {
    local status=0
    stop_process "$server_pid" || status=$?
    expect_equal "exit status of the server" "$status" 0
}

kill_server() {
    kill_process "$server_pid"
}
