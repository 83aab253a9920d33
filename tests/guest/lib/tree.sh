# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tree.sh - the life of a file system on a volume, the same for each kind:
#   file_system_lives_on_a_volume TYPE MKFS FSCK

# Some tens of MiB of libraries, whatever machine this is.
copy_libraries() {
    mkdir "$1"
    find /lib/ /usr/lib/ -xdev -type f -name '*.so*' | sort -u | sed 40q |
        while read -r path; do cp "$path" "$1"; done
}

tree_sums() {
    (cd "$1" && find . -type f -exec sha256sum {} + | sort)
}

# Exact when the volume was closed cleanly.
mapped_bytes() {
    briq info --json "$disk" | sed -n 's/.*"mapped": \([0-9]*\).*/\1/p'
}

file_system_lives_on_a_volume() {
    local type=$1 mkfs=$2 fsck=$3 sums before after
    briq create --force "$disk" 512M
    attach_volume "$disk"
    $mkfs "$device" >"$tmp/mkfs.log" 2>&1 || fail "mkfs: $(cat "$tmp/mkfs.log")"
    mount_on "$tmp/mnt" "$device" -t "$type"
    copy_libraries "$tmp/mnt/kept"
    sums=$(tree_sums "$tmp/mnt/kept")
    head -c 24M /dev/urandom >"$tmp/mnt/gone"
    unmount "$tmp/mnt"
    detach_volume
    before=$(mapped_bytes)

    attach_volume "$disk"
    mount_on "$tmp/mnt" "$device" -t "$type"
    [ "$(tree_sums "$tmp/mnt/kept")" = "$sums" ] || fail "the files are not what they were"
    rm "$tmp/mnt/gone"
    sync
    fstrim "$tmp/mnt"
    unmount "$tmp/mnt"
    $fsck "$device" >"$tmp/fsck.log" 2>&1 || fail "fsck: $(cat "$tmp/fsck.log")"
    detach_volume
    after=$(mapped_bytes)
    echo "$(wc -l <<<"$sums") files; $before bytes mapped, $after after 24M were removed and trimmed"
    [ $((before - after)) -gt $((20 << 20)) ] || fail "fstrim gave no space back"
    briq check --deep --quiet "$disk"
}
