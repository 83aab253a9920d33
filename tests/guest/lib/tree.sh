# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tree.sh - the life of a file system on a volume, the same for each kind:
#   file_system_lives_on_a_volume TYPE MKFS FSCK

file_system_lives_on_a_volume() {
    local type=$1 mkfs=$2 fsck=$3 sums before
    briq create --force "$disk" 512M
    attach_volume "$disk"
    $mkfs "$device"
    mount_on "$tmp/mnt" "$device" -t "$type"
    cp -r /usr/bin /etc "$tmp/mnt" # programs and libraries: some tens of MiB
    mkdir "$tmp/mnt/gone"
    head -c 24M /dev/urandom >"$tmp/mnt/gone/random"
    sums=$(tree_sums "$tmp/mnt/usr/bin" "$tmp/mnt/etc")
    sync -f "$tmp/mnt" 2>/dev/null || sync
    before=$(live_bytes)
    rm -r "$tmp/mnt/gone"
    sync
    fstrim "$tmp/mnt"
    unmount "$tmp/mnt"
    $fsck "$device" >"$tmp/fsck.log" 2>&1 || fail "fsck: $(cat "$tmp/fsck.log")"
    detach_volume
    echo "data: $before bytes before fstrim, $(live_bytes) after"
    briq check --deep --quiet "$disk"

    attach_volume "$disk"
    mount_on "$tmp/mnt" "$device" -t "$type"
    [ "$(tree_sums "$tmp/mnt")" = "$sums" ] || fail "the files are not what they were"
    unmount "$tmp/mnt"
    detach_volume
}
