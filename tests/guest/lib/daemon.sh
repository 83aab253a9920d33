# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# daemon.sh - `briq serve` with devices.
#   daemon_start WORDS...         `briq serve --daemon WORDS`; its process is $server_pid
#   daemon_end                    SIGTERM, and it must end well
#   nbd_write EXPORT FILE OFFSET  writes the file to the export over NBD
#   nbd_read EXPORT FILE OFFSET BYTES   reads the export into the file
#   refused WORDS... -- WHY       the command must fail, and say WHY (a pattern) in one line

daemon_start() {
    briq serve --daemon --nbd "unix:$tmp/daemon.sock" --windows-dir "$windows" \
        --pid-file "$tmp/daemon.pid" "$@" >"$tmp/daemon.log" 2>&1 ||
        fail "briq serve $*: $(cat "$tmp/daemon.log")"
    cat "$tmp/daemon.log"
    server_pid=$(cat "$tmp/daemon.pid")
    cleanup daemon_clean_up "$server_pid"
}

# Devices that it leaves behind would wait for another one.
daemon_clean_up() {
    kill -KILL "$1" 2>/dev/null || true
    briq ublk del --all --force 2>/dev/null || true
}

daemon_end() {
    kill -TERM "$server_pid"
    until ublk_server_ended; do :; done
    [ ! -e "$tmp/daemon.pid" ] || fail "the daemon did not end well"
}

daemon_kill() {
    kill -KILL "$server_pid"
    until ublk_server_ended; do :; done
}

nbd_write() {
    "$tools/nbd_io" write "nbd+unix:///$1?socket=$tmp/daemon.sock" "$3" <"$2"
}

nbd_read() {
    "$tools/nbd_io" read "nbd+unix:///$1?socket=$tmp/daemon.sock" "$3" "$4" >"$2"
}

refused() {
    local words=() said
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    if said=$("${words[@]}" 2>&1); then
        fail "${words[*]}: succeeded, and should have been refused"
    fi
    expect_equal "lines of the refusal" "$(wc -l <<<"$said")" 1
    expect_match "refusal" "$said" "$2"
    echo "refused: $said"
}
