#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A socket file that a dead server left is replaced; one that a live server listens on, and a file
# that is no socket, are left alone; and a server that ends removes its own socket and no other.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires nbdinfo --version

socket=$tmp/server.sock
serve_volume mem:1M
kill_server
[ -S "$socket" ] || fail "a killed server leaves its socket: else there is nothing to test"
serve_volume mem:2M
expect_equal "size behind the replaced socket" "$(nbdinfo --size "$uri")" $((2 << 20))

expect_failure 2 briq serve mem:1M --nbd "unix:$socket"
expect_equal "message" "$said" "briq serve: $socket: another server listens there"
expect_equal "size behind the socket that was in use" "$(nbdinfo --size "$uri")" $((2 << 20))

# Another file has taken the name: it is not the server's to remove.
rm "$socket"
echo precious >"$socket"
stop_server
expect_equal "what lies there" "$(cat "$socket")" precious
expect_failure 2 briq serve mem:1M --nbd "unix:$socket"
expect_match "message" "$said" "*$socket: exists and is no socket*"
expect_equal "what lies there" "$(cat "$socket")" precious
rm "$socket"

serve_volume mem:1M
stop_server
[ ! -e "$socket" ] || fail "the server left its socket behind"

# What is no address gets one line.
long=$(printf 'x%.0s' {1..200})
for address in "$socket" unix: "unix:$tmp/$long" "unix:$tmp/absent/sock" tcp:10809 tcp:localhost: \
    tcp:::1:10809 tcp:localhost:nosuchport; do
    expect_failure 2 briq serve mem:1M --nbd "$address"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
done
expect_failure 2 briq serve mem:1M
expect_match "message" "$said" "*--nbd unix:PATH*"
