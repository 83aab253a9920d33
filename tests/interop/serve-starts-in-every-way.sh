#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server is reached in each of its ways: a command that it runs, standard input, a socket that a
# service manager made, TCP, the background; and tells a service manager when it is ready.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd
requires nbdinfo --version

options=(--windows-dir="$windows" --engine ring)
briq create "$tmp/disk.briq" 3M
size=$((3 << 20))

# A command: its output, its exit code, and no socket left in TMPDIR (the runner looks).
expect_equal "size seen by the command" \
    "$(TMPDIR=$tmp briq serve "${options[@]}" "$tmp/disk.briq" --run "nbdinfo --size \"\$uri\"")" "$size"
# shellcheck disable=SC2016 # the command's own
expect_failure 7 briq serve "${options[@]}" "$tmp/disk.briq" --nbd "unix:$tmp/server.sock" --run 'exit 7'
expect_failure 137 briq serve "${options[@]}" mem:1M --run 'kill -KILL $$'

# Sockets handed over by a service manager: libnbd starts the server so for [ COMMAND ].
expect_equal "size behind a handed over socket" \
    "$(nbdinfo --size -- [ briq serve "${options[@]}" "$tmp/disk.briq" ])" "$size"

# Standard input.
nbdsh -c "h.connect_command(['briq', 'serve', '--stdio', '--windows-dir=$windows', '$tmp/disk.briq'])" \
    -c "assert h.get_size() == $size" -c "h.pwrite(b'x' * 4096, 0)" -c "h.shutdown()"
expect_failure 2 briq serve --stdio "$tmp/disk.briq" --windows-dir="$windows" </dev/null
expect_match "message" "$said" "*standard input is not a socket*"

# TCP, at a port that is free, on both loopback addresses; names of exports.
serve_volume --nbd=tcp:127.0.0.1:0 "$tmp/disk.briq" export='a name %?&'
nbdsh -c "h.set_export_name('a name %?&')" -c "h.connect_unix('$tmp/server.sock')" \
    -c "assert h.pread(4096, 0) == b'x' * 4096"
stop_server
# shellcheck disable=SC2016 # the command's own
expect_equal "size over TCP" "$(briq serve "${options[@]}" "$tmp/disk.briq" --nbd tcp:127.0.0.1:0 \
    --run 'echo "$uri" >&2; nbdinfo --size "$uri"')" "$size"

# The background, and the word to the service manager.
exec {told}< <("$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
word = b""
while word != b"STOPPING=1":
    word = s.recv(100)
    print(word.decode(), flush=True)
' "$tmp/notify")
read -r -u "$told" word
expect_equal "the listener" "$word" listening
NOTIFY_SOCKET=$tmp/notify briq serve --daemon --pid-file "$tmp/pid" "${options[@]}" "$tmp/disk.briq" \
    --nbd "unix:$tmp/server.sock" </dev/null
daemon=$(cat "$tmp/pid")
cleanup kill -KILL "$daemon"
expect_equal "size behind the daemon" "$(nbdinfo --size "$(uri_of '')")" "$size"
expect_failure 2 briq serve --daemon "${options[@]}" "$tmp/disk.briq" --nbd "unix:$tmp/other.sock"
expect_match "message" "$said" "*$tmp/disk.briq*$daemon*"
kill "$daemon"
wait_gone "$daemon"
expect_equal "what was told" "$(cat <&"$told" | tr '\n' ' ')" "READY=1 STOPPING=1 "
[ ! -e "$tmp/pid" ] || fail "the daemon left its pid file"
expect_equal "clean" "$(briq info --json "$tmp/disk.briq" | grep -c '"clean": *true')" 1

# Names that are relative mean the same to a daemon, to its end.
mkdir "$tmp/here" "$tmp/here/windows"
(cd "$tmp/here" && briq create a.briq 16M && briq create b.briq 16M &&
    briq serve --daemon --pid-file pid --windows-dir windows a.briq --nbd unix:socket </dev/null)
daemon=$(cat "$tmp/here/pid")
cleanup kill -KILL "$daemon"
briq attach --control "$daemon" "$tmp/here/b.briq"
expect_equal "windows" "$(find "$tmp/here/windows" -name 'briq-*' | wc -l)" 2
kill "$daemon"
wait_gone "$daemon"
expect_equal "what it left" "$(cd "$tmp/here" && find . -type f -o -type s | sort | tr '\n' ' ')" \
    "./a.briq ./b.briq "
