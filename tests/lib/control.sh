# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# control.sh - daemons with control sockets, for tests that source frontend.sh before it:
#   start_daemon NAME ARG...   `briq serve --control NAME ARG...` with a socket at $tmp/NAME.sock;
#                              waits until it serves. Sets NAME_pid and ends with the test; what
#                              it says is in $tmp/NAME.log
#   disk_uri NAME EXPORT       prints the URI of an export of that daemon
#   stat_of EXPORT FILTER      what jq's FILTER makes of the export's entry in `briq list`
#   start_client URI           writes to it, see steady_client.py; sets client and client_out
#   end_of_client              reads how many of its writes were answered into $written
#   check_written URI          what those have left is there
# shellcheck disable=SC2154 # $tmp, $windows: functions.sh, frontend.sh

start_daemon() {
    local name=$1 line='' pipe
    shift
    rm -f "$tmp/$name.ready"
    mkfifo "$tmp/$name.ready"
    briq serve --control "$name" --print-uri --verbose --nbd "unix:$tmp/$name.sock" \
        --windows-dir "$windows" "$@" >"$tmp/$name.ready" 2>>"$tmp/$name.log" &
    printf -v "${name}_pid" %s $!
    cleanup kill_process $!
    exec {pipe}<"$tmp/$name.ready"
    read -r -u "$pipe" line || true
    exec {pipe}<&-
    [ -n "$line" ] || fail "the daemon $name did not start: $(cat "$tmp/$name.log")"
}

start_client() {
    local line
    exec {client_out}< <("$PYTHON" "$BRIQ_SOURCE/tests/lib/steady_client.py" "$1")
    # shellcheck disable=SC2034 # for the test
    client=$!
    read -r -u "$client_out" line || true
    expect_equal "what the client says" "$line" connected
}

end_of_client() {
    read -r -t 60 -u "$client_out" written || fail "the client did not end well"
}

check_written() {
    "$PYTHON" "$BRIQ_SOURCE/tests/lib/steady_client.py" --check "$1" "$written"
}

disk_uri() {
    echo "nbd+unix:///$2?socket=$tmp/$1.sock"
}

stat_of() {
    briq list --json | jq -r ".[].exports[] | select(.name == \"$1\") | $2"
}
