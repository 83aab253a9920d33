#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 200
#
# The devices of a `briq serve` that was killed wait, and the next one that serves their volumes has
# them again, asked for or not; so has `briq ublk recover`. A daemon that is told to end removes the
# devices that nobody uses and leaves those that are in use to the next one. Nobody sees an error.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/daemon.sh
source "$BRIQ_SOURCE/tests/guest/lib/daemon.sh"
# shellcheck source=tests/guest/lib/writer.sh
source "$BRIQ_SOURCE/tests/guest/lib/writer.sh"
use_disks
requires_driver ublk_drv

state_of() {
    briq ublk list --json "$1" | sed -n 's/.*"state": *"\(.*\)",*/\1/p'
}

briq create --force "$disk" 256M
briq create --force "$spare" 64M
daemon_start a="$disk" b="$spare" --ublk --id 3 --depth 32
device=/dev/ublkb3
id=3
mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"

writer_start
writer_gets_on

daemon_kill
daemon_start a="$disk" b="$spare"
expect_equal "state of the first" "$(state_of 3)" live
expect_equal "state of the second" "$(state_of 4)" live
expect_match "briq list" "$(briq list)" "*/dev/ublkb3*/dev/ublkb4*"
grep -q "^$device " "/proc/$server_pid/mounts" &&
    [ "$(readlink "/proc/$server_pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] &&
    fail "the server holds its own device's mount"
writer_gets_on

daemon_kill
briq ublk recover 3
expect_equal "state of the first" "$(state_of 3)" live
writer_gets_on
server_pid=$(ublk_server)
kill -KILL "$server_pid"
until ublk_server_ended; do :; done

daemon_start a="$disk" --ublk
expect_match "what is printed" "$(cat "$tmp/daemon.log")" "*$device: a"
expect_equal "devices of the volume" "$(briq list | grep -c "/dev/ublkb")" 1
writer_gets_on

# One that is mounted waits when its server is told to end; in one that is not there is no need to.
expect_equal "attached" "$(briq attach c=mem:16M --ublk --id 7)" /dev/ublkb7
daemon_end
[ ! -e /dev/ublkb7 ] || fail "a device that nobody used is still there"
expect_match "state" "$(state_of 3)" waiting
daemon_start a="$disk" --nbd "unix:$tmp/second.sock"
writer_gets_on
daemon_end
daemon_start b="$spare"
expect_equal "attached" "$(briq attach a="$disk" --ublk)" "$device"

writer_end

# The other way of opening it does not take it over.
daemon_kill
daemon_start b="$spare"
daemon_end
briq serve --daemon --pid-file "$tmp/daemon.pid" --nbd "unix:$tmp/third.sock" --read-only \
    a="$disk"
server_pid=$(cat "$tmp/daemon.pid")
expect_match "state" "$(state_of 3)" waiting
daemon_end
briq ublk del 3
briq check --deep --quiet "$disk"
