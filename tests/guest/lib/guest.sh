# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# guest.sh - what a case is written with: all of tests/lib/functions.sh and frontend.sh, and below.
# A case runs as root on a kernel with the drivers, inside the guest or (GUEST=host) outside, and finds
#   $disk   a block device of 1 GiB that in the guest loses in a power cut what was not flushed
#   $spare  a block device of 4 GiB
#   $boot   1, and one more after each power cut
#   $last   after a power cut: what the case had told last
#   $tools  the programs of tests/guest/tools
# and
#   requires_driver MODULE...   loads them, or skips the case
#   attach_volume [KEY=VALUE]... VOLUME   serves the volume with $BRIQ_FRONTEND and makes it a block
#                               device of the kernel: $device. With nbdkit and serve that is the
#                               kernel's NBD client with 4 connections, with ublk a device of its own.
#   detach_volume               takes the device away and stops the server, which must end well
#   abandon_volume              the same with SIGKILL, for a volume whose medium fails
#   verify_device OPTION...     random writes to $device by fio, with these options, all read back
#   dm_create NAME TABLE        a device-mapper device, /dev/mapper/NAME, that goes with the case
#   dm_switch NAME TABLE        gives it another table; what was in flight has ended then
#   dm_remove NAME
#   sectors_of DEVICE           its size in units of 512 bytes
#   forget_cached DEVICE        drops its pages from the page cache, so that reads reach the device
#   mount_on DIR DEVICE [OPTION...], unmount DIR
#   tell WORD                   hands a word to the host, which keeps it across a power cut
#   cut_power_after N           has the host cut the power once it was told N more words; 0 is now
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/guest/lib/ublk.sh
source "$BRIQ_SOURCE/tests/guest/lib/ublk.sh"

# shellcheck disable=SC2034 # for the cases
boot=${GUEST_BOOT:-1}
# shellcheck disable=SC2034
last=${GUEST_LAST:--}
# shellcheck disable=SC2034
tools=$BRIQ_BUILD/tests/guest/tools
device=
echo "seed $seed, boot $boot, Linux $(uname -r)"

requires_driver() {
    local module
    for module in "$@"; do
        modprobe "$module" 2>/dev/null || has_driver "$module" ||
            skip "needs: the kernel's driver $module"
    done
}

# What a kernel has built in can only be told by what it shows.
has_driver() {
    case $1 in
    dm-mod) [ -e /dev/mapper/control ] ;;
    dm-*) dmsetup targets | grep -q "^${1#dm-} " ;;
    nbd) [ -e /sys/block/nbd0 ] ;;
    ublk_drv) [ -e /dev/ublk-control ] ;;
    *) grep -qw "$1" /proc/filesystems || [ -d "/sys/module/${1//-/_}" ] ;;
    esac
}

in_guest() {
    [ -e /sys/class/virtio-ports ] && { true >&3; } 2>/dev/null
}

# The disk with this serial number in the guest; elsewhere a loop device of that size.
find_disk() {
    local name=$1 size=$2 path
    if in_guest; then
        for path in /sys/block/vd*; do
            if [ "$(cat "$path/serial")" = "$name" ]; then
                echo "/dev/${path##*/}"
                return
            fi
        done
        fail "the guest has no disk '$name'"
    fi
    truncate -s "$size" "$tmp/$name.raw"
    losetup --find --show "$tmp/$name.raw"
}

use_disks() {
    disk=$(find_disk disk 1G)
    spare=$(find_disk spare 4G)
    if ! in_guest; then
        cleanup losetup -d "$disk"
        cleanup losetup -d "$spare"
    fi
}

first_free_nbd() {
    local path
    for path in /sys/block/nbd*; do
        if [ ! -e "$path/pid" ]; then
            echo "/dev/${path##*/}"
            return
        fi
    done
    fail "every nbd device is in use"
}

# What $tmp/server.sock serves; arguments are options of nbd-client.
attach_nbd() {
    device=$(first_free_nbd)
    nbd-client -unix "$tmp/server.sock" "$device" "$@" >"$tmp/nbd-client.log" 2>&1 ||
        fail "nbd-client: $(cat "$tmp/nbd-client.log")"
    cleanup detach_device "$device"
}

attach_volume() {
    case $BRIQ_FRONTEND in
    nbdkit | serve | serve-threads)
        requires_driver nbd
        requires nbd-client -V
        serve_volume "$@"
        attach_nbd -C 4
        ;;
    ublk) ublk_attach "$@" ;;
    *) fail "BRIQ_FRONTEND=$BRIQ_FRONTEND: guest.sh does not know how to attach it" ;;
    esac
}

# Also as a cleanup, when it may be gone already.
detach_device() {
    if [ -e "/sys/block/${1##*/}/pid" ]; then
        nbd-client -d "$1" >/dev/null 2>&1
    fi
}

detach_volume() {
    if [ "$BRIQ_FRONTEND" = ublk ]; then
        ublk_detach
        return
    fi
    detach_device "$device"
    stop_server
}

verify_device() {
    fio --name=verify --filename="$device" --ioengine=libaio --rw=randwrite --randseed="$seed" \
        --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 \
        --buffer_compress_percentage=50 --refill_buffers "$@" --output="$tmp/fio.log" ||
        fail "fio $*: $(tail -n 20 "$tmp/fio.log")"
    echo "ok: $*"
}

abandon_volume() {
    if [ "$BRIQ_FRONTEND" = ublk ]; then
        ublk_abandon
        return
    fi
    detach_device "$device"
    kill_server
}

dm_create() {
    requires_driver dm-mod
    dmsetup create "$1" <<<"$2"
    cleanup dm_remove_if_there "$1"
}

dm_switch() {
    dmsetup suspend --noflush --nolockfs "$1"
    dmsetup load "$1" <<<"$2"
    dmsetup resume "$1"
}

dm_remove() {
    dmsetup remove --retry "$1"
}

dm_remove_if_there() {
    if [ -e "/dev/mapper/$1" ]; then dmsetup remove --retry "$1" || dmsetup remove --force "$1"; fi
}

sectors_of() {
    blockdev --getsz "$1"
}

forget_cached() {
    blockdev --flushbufs "$1"
    echo 3 >/proc/sys/vm/drop_caches
}

mount_on() {
    local directory=$1 what=$2
    shift 2
    mkdir -p "$directory"
    mount "$@" "$what" "$directory"
    cleanup unmount_if_mounted "$directory"
}

unmount() {
    umount "$1"
}

unmount_if_mounted() {
    if mountpoint -q "$1"; then umount "$1" || umount -l "$1"; fi
}

requires_power_switch() {
    in_guest || skip "needs: a guest, to cut its power"
}

tell() {
    if in_guest; then echo "told $*" >&3; fi
}

cut_power_after() {
    requires_power_switch
    echo "cut $1" >&3
    # When it is cut now, nothing that follows is to happen.
    if [ "$1" -eq 0 ]; then tail -f /dev/null; fi
}
