#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 200
#
# `briq ublk recover --replace` puts another server in the place of one that lives, under a mounted
# file system that is being written to: nobody sees an error and every file is whole. A server that is
# told to end leaves a device that is in use to the next one, and removes one that is not, or that
# cannot wait; while one waits its volume gets no second device.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/writer.sh
source "$BRIQ_SOURCE/tests/guest/lib/writer.sh"
use_disks

briq create --force "$disk" 256M
ublk_add --queues 2 "$disk"
mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"

writer_start
for round in 1 2 3 4 5; do
    old=$server_pid
    until briq ublk stat "$id" | awk '{ n += $7 } END { exit n < 5 }'; do :; done
    ublk_replace
    [ "$server_pid" != "$old" ] || fail "round $round: it is the same server"
done

tell_to_end() {
    kill -TERM "$server_pid"
    until ublk_server_ended; do :; done
}

tell_to_end
until briq ublk list "$id" | grep -q ' waiting '; do :; done
ublk_refused add "$disk" -- "*$device waits for a server*briq ublk recover $id*"
ublk_recover
writer_gets_on
writer_end

tell_to_end
[ ! -e "$device" ] || fail "$device is still there"
briq info "$disk" | grep -q 'Closed cleanly *yes' || fail "the volume was not closed cleanly"
briq check --deep --quiet "$disk"

# What cannot wait goes, used or not.
ublk_add mem:16M
exec 9<"$device"
tell_to_end
[ ! -e "$device" ] || fail "$device of a volume in memory is still there"
exec 9<&-
