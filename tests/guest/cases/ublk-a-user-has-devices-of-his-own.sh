#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Where udev gives a user the control device and the nodes of his devices, `briq ublk add` makes him
# one that works as any other, and that he and root can look at and remove. Where it does not, he is
# told so. What needs more than a user has is refused.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
requires_driver ublk_drv
setpriv --version >/dev/null 2>&1 || skip "needs: setpriv"

user=65534
home=$tmp/home
chmod 711 "$tmp"
mkdir -m 700 "$home" "$home/run" "$home/windows"
chown -R $user:$user "$home"

# The program as the user.
mine() {
    (cd "$home" && HOME=$home TMPDIR=$home XDG_RUNTIME_DIR=$home/run \
        setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all --bounding-set=-all \
        "$BRIQ_BUILD/briq" "$@")
}

refused_mine() {
    local words=() said
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    if said=$(mine "${words[@]}" 2>&1); then
        fail "briq ${words[*]}: succeeded, and should have been refused"
    fi
    expect_match "refusal" "$said" "$2"
    echo "refused: $said"
}

# What udev does with 60-briq-ublk.rules when a node comes.
udev() {
    local node
    for node in "$@"; do
        until [ -e "$node" ]; do :; done
        chown "$(briq ublk owner "$node" | tr ' ' :)" "$node"
    done
}

close_control() {
    chmod 600 /dev/ublk-control
}

mine create disk.briq 256M
refused_mine ublk add disk.briq -- "*/dev/ublk-control: permission denied*60-briq-ublk.rules*"
chmod 666 /dev/ublk-control
cleanup close_control

refused_mine ublk add disk.briq --swap -- "*--swap*root*"
refused_mine ublk add disk.briq --partitions yes -- "*--partitions yes*CAP_SYS_ADMIN*"
refused_mine ublk add disk.briq --id 5 -- "*/dev/ublkc5: Permission denied*udev*"
briq ublk del 5

ublk_add mem:16M
refused_mine ublk del "$id" -- "*permission denied*"
refused_mine ublk owner "$id" -- "*permission denied*"
ublk_refused owner "$id" -- "*is root's*"
expect_equal "what a user sees of root's devices" "$(mine ublk list | grep -c ublkb)" 0
ublk_del

id=7
device=/dev/ublkb$id
mine_add() {
    local helper
    udev /dev/ublkc$id $device &
    helper=$!
    mine ublk add --id $id --queues 1 --depth 32 --windows-dir windows disk.briq >"$tmp/add.log" 2>&1 ||
        fail "briq ublk add as a user: $(cat "$tmp/add.log")"
    wait "$helper" || fail "the node was not given away"
    server_pid=$(sed -n 's/^pid=//p' "$home/run/briq/ublk$id")
    cleanup ublk_remove $id
    cat "$tmp/add.log"
}

mine_add
expect_match "what is said" "$(cat "$tmp/add.log")" "*CAP_SYS_ADMIN*removed if its server dies*"
expect_equal "user of the server" "$(stat -c %u "/proc/$server_pid")" $user
verify_device --direct=1 --iodepth=16 --size=16M --bsrange=512-128k --blockalign=512
dd if=/dev/urandom of="$home/data" bs=64k count=16 status=none
chown $user "$home/data"
setpriv --reuid $user --regid $user --clear-groups \
    dd if="$home/data" of=$device bs=64k conv=fsync status=none || fail "the user cannot write to it"
blkdiscard --offset 32M --length 8M $device
expect_match "list of the user" "$(mine ublk list)" "*$device*live*remove*/disk.briq"
expect_match "list of root" "$(briq ublk list)" "*$device*live*remove*a user's*"
[ "$(mine ublk stat $id | wc -l)" -eq 1 ] || fail "no figures"
if mine ublk resize $id +64M 2>"$tmp/resize.log"; then
    expect_equal "size" "$(blockdev --getsize64 $device)" $((320 << 20))
else
    expect_match "refusal" "$(cat "$tmp/resize.log")" "*6.16*"
fi
mine ublk del $id
[ ! -e $device ] || fail "$device is still there"
mine check --deep --quiet disk.briq

# The server dies, and the device with it; what was acknowledged is there.
mine_add
setpriv --reuid $user --regid $user --clear-groups cmp -n $((1 << 20)) "$home/data" $device
dd if=/dev/zero of=$device bs=64k count=1 oflag=direct status=none
kill -KILL "$server_pid"
until ublk_server_ended; do :; done
until [ ! -e $device ]; do :; done
refused_mine ublk recover $id -- "*cannot be taken over*"
mine ublk del $id

# Root stops it.
mine_add
cmp -n 65536 $device /dev/zero
cmp -n $((15 << 16)) "$home/data" $device 65536 65536
briq ublk del $id
ublk_server_ended || fail "the server is still there"
mine check --deep --quiet disk.briq
