# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# writer.sh - files that are written and synced while servers of their device come and go:
#   writer_start        in the file system at $tmp/mnt
#   writer_gets_on      waits until it has done more, which it can only with a server
#   writer_end          every write succeeded, every file is whole, and fsck of $device is content

# 50 files in turn. What "written" counts is whole and synced.
write_files() {
    local i
    for ((i = 0; ; i++)); do
        [ ! -e "$tmp/enough" ] || break
        head -c 100k /dev/urandom >"$tmp/mnt/$((i % 50))" || return 1
        (cd "$tmp/mnt" && sha256sum "$((i % 50))") >"$tmp/sums/$((i % 50))" || return 1
        sync "$tmp/mnt/$((i % 50))" || return 1
        echo "$i" >"$tmp/count" && mv "$tmp/count" "$tmp/written"
    done
}

writer_start() {
    mkdir "$tmp/sums"
    write_files &
    writer=$!
}

writer_gets_on() {
    local from
    from=$(cat "$tmp/written" 2>/dev/null || echo 0)
    until [ "$(cat "$tmp/written" 2>/dev/null || echo 0)" -gt $((from + 3)) ]; do :; done
}

writer_end() {
    touch "$tmp/enough"
    wait "$writer" || fail "a write met an error"
    echo 3 >/proc/sys/vm/drop_caches
    (cd "$tmp/mnt" && sha256sum --quiet -c "$tmp"/sums/*)
    unmount "$tmp/mnt"
    e2fsck -fn "$device" >"$tmp/fsck.log" 2>&1 || fail "fsck: $(cat "$tmp/fsck.log")"
}
