# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# log_writes.sh - every state a power cut can leave below a file system on a volume, the same for each
# kind of file system:
#   every_flush_point_recovers TYPE MKFS FSCK [MOUNT-OPTION...]
# The volume lies on a log-writes device: what is flushed to it, and in which order, is logged to $spare.
# On the volume is the file system, and on that two programs that change files with fsync; each tells the
# log when a change was durable. From the log the disk is then built as it was at a flush, for the
# even ones with a random half of the writes behind it. There the volume must recover, be sound, and the
# file system on it mount, have every change that was durable, and pass its fsck.
#
# GUEST_POINTS says at how many flushes, spread over the log, this is done: a number or `all`.

medium_bytes=$((128 << 20))
changes=${GUEST_CHANGES:-60} # of each of the two programs

record_log() {
    local type=$1 mkfs=$2 pids=() i
    shift 2
    # The medium is a part of the disk; a smaller one is collected more often.
    dm_create medium "0 $((medium_bytes >> 9)) linear $disk 0"
    dd if=/dev/zero of=/dev/mapper/medium bs=1M count=$((medium_bytes >> 20)) 2>"$tmp/dd.log"
    dm_create logged "0 $((medium_bytes >> 9)) log-writes /dev/mapper/medium $spare"
    briq create --force /dev/mapper/logged 320M
    attach_volume /dev/mapper/logged
    $mkfs "$device" >"$tmp/mkfs.log" 2>&1 || fail "mkfs: $(cat "$tmp/mkfs.log")"
    mount_on "$tmp/mnt" "$device" "$@"
    mkdir "$tmp/mnt/a" "$tmp/mnt/b"
    sync
    dmsetup message logged 0 mark 0:0
    for i in a b; do
        "$tools/files" write "$tmp/mnt/$i" "$seed" "$changes" >"$tmp/$i.durable" &
        pids+=($!)
    done
    mark_progress "${pids[@]}"
    unmount "$tmp/mnt"
    detach_volume
    dm_remove logged
    dm_remove medium
}

# The numbers are read first and entered then: whatever they name was durable before the mark.
mark_progress() {
    local a b before=
    while kill -0 "$@" 2>/dev/null; do
        a=$(tail -n 1 "$tmp/a.durable")
        b=$(tail -n 1 "$tmp/b.durable")
        if [ "$a $b" != "$before" ]; then
            before="$a $b"
            dmsetup message logged 0 mark "${a:-0}:${b:-0}"
        fi
    done
    { wait "$1" && wait "$2"; } || fail "a program that changes files failed"
    dmsetup message logged 0 mark "$changes:$changes"
}

# How many entries there are up to the chosen flushes, and what was durable at each.
choose_points() {
    local all count
    "$tools/replay_log" points "$spare" | sed -n '/ -$/!s/:/ /p' >"$tmp/points"
    all=$(wc -l <"$tmp/points")
    [ "$all" -gt 0 ] || fail "the files were synced, and the medium was never flushed"
    count=${GUEST_POINTS:-12}
    if [ "$count" = all ] || [ "$count" -gt "$all" ]; then count=$all; fi
    echo "$all flushes, of which $count are replayed"
    # Their distance is a fraction: the seed says where the first is.
    awk -v n="$count" -v all="$all" -v seed="$seed" \
        'BEGIN { step = all / n; next_one = (seed % 1000) / 1000 * step }
         NR - 1 >= int(next_one) { print; next_one += step }' "$tmp/points" >"$tmp/chosen"
}

try_point() {
    local image=$1 a=$2 b=$3 fsck=$4
    shift 4
    rm -f "$windows"/* # they were in memory
    attach_volume "$image"
    mount_on "$tmp/mnt" "$device" "$@" || fail "does not mount"
    "$tools/files" verify "$tmp/mnt/a" "$seed" "$a" >"$tmp/found.a"
    "$tools/files" verify "$tmp/mnt/b" "$seed" "$b" >"$tmp/found.b"
    unmount "$tmp/mnt"
    $fsck "$device" >"$tmp/fsck.log" 2>&1 || fail "fsck: $(cat "$tmp/fsck.log")"
    detach_volume
    briq check --deep --quiet "$image"
}

replay_points() {
    local fsck=$1 from=0 until a b next number=0
    shift
    truncate -s "$medium_bytes" "$tmp/flushed"
    while read -r until a b; do
        number=$((number + 1))
        "$tools/replay_log" replay "$spare" "$tmp/flushed" "$from" "$until"
        from=$until
        cp --sparse=always "$tmp/flushed" "$tmp/image"
        if [ $((number % 2)) -eq 0 ]; then
            next=$(awk -v until="$until" '$1 > until { print $1 - 1; exit }' "$tmp/points")
            "$tools/replay_log" replay "$spare" "$tmp/image" "$until" "${next:-$until}" $((seed + number))
        fi
        echo "entry $until: durable were $a and $b"
        try_point "$tmp/image" "$a" "$b" "$fsck" "$@"
    done <"$tmp/chosen"
    echo "$number flush points recovered, mounted and passed fsck"
}

every_flush_point_recovers() {
    local type=$1 mkfs=$2 fsck=$3
    shift 3
    requires_driver dm-log-writes
    record_log "$type" "$mkfs" -t "$type" "$@"
    choose_points
    replay_points "$fsck" -t "$type" "$@"
}
