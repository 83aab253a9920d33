#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh - shows Briq at work on a real disk image; `make demo` calls it. On a fresh Debian 12 with
# git and make it needs nothing else. It
#   installs what is missing (as root; else says what to install) and builds
#   makes an ext4 image from files of this machine, by default about 1 GB of /usr
#   imports it, serves it with nbdkit, and lets nbdinfo, nbdcopy and qemu-img use it
#   prints what it took and how fast it was
# All it makes is in one directory below $TMPDIR (default /var/tmp), which is gone afterwards.
#
#   DEMO_MB=N   megabytes of files to take at the most (default 1024)
#
# `demo.sh show` leaves out installing and building.
set -eu -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

want_mb=${DEMO_MB:-1024}
min_image_mb=512
dir=

die() {
    echo "demo: $*" >&2
    exit 2
}

say() {
    printf '\n-- %s\n' "$*"
}

finish() {
    local status=$?
    trap '' INT TERM
    [ -z "$dir" ] || rm -rf "$dir"
    if [ "$status" -ne 0 ]; then
        echo "demo: stopped with exit code $status" >&2
    fi
    exit "$status"
}

# Microseconds since the epoch.
now() {
    echo "${EPOCHREALTIME//[.,]/}"
}

# Runs a command and sets $took_us.
timed() {
    local start
    start=$(now)
    "$@"
    took_us=$(($(now) - start))
}

# mb BYTES: megabytes with one decimal; rate BYTES US: megabytes a second.
mb() {
    awk -v n="$1" 'BEGIN { printf "%.1f MB", n / 1e6 }'
}
rate() {
    awk -v n="$1" -v us="$2" 'BEGIN { printf "%.0f MB/s in %.1f s", n / us, us / 1e6 }'
}

# Names of readable files, each ended by a zero byte, until there is enough.
choose_files() {
    find /usr/lib /usr/bin /usr/share /usr/sbin /usr/libexec /usr/include /usr/local /var/lib \
        -xdev -type f -readable -size -262144k -printf '%s %p\0' 2>/dev/null |
        awk -v RS='\0' -v ORS='\0' -v max="$((want_mb * 1000000))" '
            { size = $1; sub(/^[0-9]+ /, "") }
            sum + size <= max { sum += size; print }' || true
}

# An ext4 image, as an installer would make one, without mounting anything and without root.
make_image() {
    local blocks
    mkdir "$dir/root"
    choose_files >"$dir/files"
    tar -C / --null --no-recursion --ignore-failed-read -cf - -T "$dir/files" 2>/dev/null |
        tar -C "$dir/root" --no-same-owner -xf - || die "copying files to $dir failed: is it full?"
    # A tenth for the file system's own structures, then a little free space, as disks have.
    blocks=$(($(du -sm "$dir/root" | cut -f1) * 110 / 100 + 64))
    [ "$blocks" -ge "$min_image_mb" ] || blocks=$min_image_mb
    mke2fs -q -t ext4 -L briq-demo -d "$dir/root" "$dir/disk.img" "${blocks}M"
    rm -rf "$dir/root" "$dir/files"
}

check_space() {
    local free need
    free=$(df --output=avail -BM "$1" | tail -n 1 | tr -dc 0-9)
    # At the worst moment: the image, the volume, and a copy that nbdcopy makes.
    need=$((want_mb * 5 / 2 + 2 * min_image_mb))
    [ "$free" -ge "$need" ] ||
        die "$1 has $free MB free, the demo needs $need: set TMPDIR, or DEMO_MB to less than $want_mb"
}

# What clients do while nbdkit serves; it starts this script again with the socket's URI in $uri.
# Times go to a file, what the clients print to the terminal.
use_volume() {
    : "${uri:?}"
    say "nbdinfo: what a client sees"
    nbdinfo "$uri"
    nbdinfo --map --totals "$uri"

    say "nbdcopy: the whole disk back out through NBD"
    local progress=()
    [ ! -t 1 ] || progress=(--progress)
    timed nbdcopy "${progress[@]}" "$uri" "$dir/copy.img"
    echo "copy_us=$took_us" >>"$dir/times"
    cmp "$dir/disk.img" "$dir/copy.img"
    echo "identical to the original"
    rm "$dir/copy.img"

    say "qemu-img compare: the original with the served disk"
    [ ! -t 1 ] || progress=(-p)
    timed qemu-img compare "${progress[@]}" -f raw -F raw "$dir/disk.img" "$uri"
    echo "compare_us=$took_us" >>"$dir/times"
}

# One figure of `briq info --json`.
figure() {
    perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{$ARGV[0]} // "unknown"' "$1" \
        <"$dir/info.json"
}

row() {
    printf '  %-34s %s\n' "$1" "$2"
}

print_table() {
    local size used import_us copy_us compare_us
    size=$(stat -c %s "$dir/disk.img")
    used=$(($(stat -c '%b * %B' "$dir/disk.img")))
    # shellcheck source=/dev/null
    . "$dir/times"
    say "what it took"
    row "disk" "$(mb "$size")"
    row "of it data in the image file" "$(mb "$used")"
    row "mapped blocks" "$(mb "$(figure mapped)")"
    row "stored, compressed" "$(mb "$(figure stored)")"
    row "ratio of what is not zeros" "$(figure ratio)"
    row "volume file" "$(mb "$(figure file)")"
    row "briq import" "$(rate "$size" "$import_us")"
    row "nbdcopy from nbdkit" "$(rate "$size" "$copy_us")"
    row "qemu-img compare over NBD" "$(rate "$size" "$compare_us")"
    echo
    echo "Speeds count the whole disk, $(nproc) processors, files in $(dirname "$dir")."
}

# Everything but building.
show() {
    local base=${TMPDIR:-/var/tmp}
    check_space "$base"
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d "$base/briq-demo.XXXXXX")

    say "an ext4 image with files of this machine (mke2fs -d)"
    make_image
    ls -lsh "$dir/disk.img"

    say "briq import disk.img disk.briq"
    timed ./run briq import "$dir/disk.img" "$dir/disk.briq"
    echo "import_us=$took_us" >"$dir/times"

    say "nbdkit briq disk.briq, on a Unix socket"
    # nbdkit runs the command once it serves, and ends with it.
    # shellcheck disable=SC2016 # nbdkit's shell expands them
    dir_of_client=$dir ./run nbdkit -U - briq "$dir/disk.briq" \
        --run 'uri="$uri" demo/demo.sh use-volume "$dir_of_client"'

    say "briq check --deep"
    ./run briq check --deep "$dir/disk.briq"
    ./run briq info --json "$dir/disk.briq" >"$dir/info.json"
    print_table
}

case ${1:-} in
use-volume)
    dir=${2:?}
    use_volume
    ;;
show) show ;;
'')
    scripts/deps build demo
    make --no-print-directory -j"$(nproc)" all
    show
    ;;
*) die "unknown argument $1" ;;
esac
