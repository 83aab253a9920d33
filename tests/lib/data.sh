# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# data.sh - test data that looks like what people keep: made from the files of this machine.
#   make_corpus FILE SIZE [N]   SIZE bytes of programs and libraries, no block of it all zeros;
#                               another N begins elsewhere
#   make_ext4 FILE SIZE DIR     an ext4 image of SIZE with a copy of the tree DIR in it
# The same arguments make the same bytes on the same machine.

# What is all zeros is stored as a hole by some clients and as data by others.
without_zero_blocks() {
    perl -e 'local $/ = \4096; while (<STDIN>) { print if tr/\0//c }'
}

# The list is rotated by N files; a pipe that head closes early is no failure.
make_corpus() {
    local file=$1 size skip=${3:-0} got
    size=$(numfmt --from=iec "$2")
    find /usr/bin /usr/lib -xdev -type f -size +7k -readable -print0 2>/dev/null |
        LC_ALL=C sort -z >"$file.list"
    { tail -z -n +"$((skip + 1))" "$file.list"; head -z -n "$skip" "$file.list"; } |
        { xargs -0 cat 2>/dev/null || true; } | without_zero_blocks | head -c "$size" >"$file" || true
    rm "$file.list"
    got=$(stat -c %s "$file")
    [ "$got" -eq "$size" ] || skip "needs: $size bytes of files in /usr, there are $got"
}

make_ext4() {
    mke2fs -q -F -t ext4 -E nodiscard,root_owner=0:0 -d "$3" "$1" "$2"
}
