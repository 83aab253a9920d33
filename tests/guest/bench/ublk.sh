#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 600
#
# ublk.sh - what a ublk device over a volume in memory costs, beside the kernel's own block devices on
# memory: loop on a tmpfs file, zram with lz4, null_blk, dm-vdo where it can be made, and `briq ublk
# add --null`, which answers without work. 4 KiB at random, real data, medians of alternating rounds.
#
# The environment: BENCH_ROUNDS (5), BENCH_MS (1000) for each measurement, BENCH_SIZE (64M) of a device.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
requires_driver ublk_drv

rounds=${BENCH_ROUNDS:-5}
ms=${BENCH_MS:-1000}
size=${BENCH_SIZE:-64M}
bytes=$(numfmt --from=iec "$size")
depths=(1 32 128)
tick_ns=$((1000000000 / $(getconf CLK_TCK 2>/dev/null || echo 100)))
load=$tools/ublk_load
image=$tmp/image
declare -A device_of server_of samples
names=()

# ---- devices --------------------------------------------------------------------------------------

# NAME DEVICE [SERVER'S PID]
use() {
    names+=("$1")
    device_of[$1]=$2
    server_of[$1]=${3:-}
    "$load" fill "$2" "$image"
    echo "# $1: $2"
}

make_ublk() {
    local name=$1
    shift
    ublk_add "$@" >/dev/null
    use "$name" "$device" "$server_pid"
}

make_loop() {
    local path
    modprobe loop 2>/dev/null || true
    truncate -s "$size" "$tmp/loop"
    path=$(losetup --find --show "$tmp/loop") || return 0
    cleanup losetup -d "$path"
    use loop "$path"
}

make_zram() {
    local number
    modprobe zram 2>/dev/null || true
    [ -e /sys/class/zram-control/hot_add ] || return 0
    number=$(cat /sys/class/zram-control/hot_add)
    grep -qw lz4 "/sys/block/zram$number/comp_algorithm" || return 0
    echo lz4 >"/sys/block/zram$number/comp_algorithm"
    echo "$bytes" >"/sys/block/zram$number/disksize"
    cleanup sh -c "echo $number >/sys/class/zram-control/hot_remove"
    use zram "/dev/zram$number"
}

make_null_blk() {
    local group=/sys/kernel/config/nullb/briq
    modprobe null_blk nr_devices=0 2>/dev/null || true
    mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config 2>/dev/null || true
    mkdir "$group" 2>/dev/null || return 0
    cleanup rmdir "$group"
    echo $((bytes >> 20)) >"$group/size"
    echo 1 >"$group/memory_backed"
    echo 1 >"$group/power"
    # It has the name of the group, or before Linux 6.2 a number.
    [ ! -b /dev/briq ] || use null_blk /dev/briq
    [ -b /dev/briq ] || use null_blk "/dev/nullb$(cat "$group/index")"
}

make_vdo() {
    local path
    command -v vdoformat >/dev/null || return 0
    modprobe dm-vdo 2>/dev/null || has_driver dm-vdo || return 0
    truncate -s 6G "$tmp/vdo"
    path=$(losetup --find --show "$tmp/vdo") || return 0
    cleanup losetup -d "$path"
    vdoformat --force "$path" >/dev/null 2>&1 || return 0
    dm_create bench-vdo "0 $((bytes / 512)) vdo V4 $path $((6 << 18)) 4096 32768 16380 compression on" ||
        return 0
    use vdo /dev/mapper/bench-vdo
}

# ---- measuring ------------------------------------------------------------------------------------

# All processor time of a process so far, in clock ticks.
ticks_of() {
    local stat
    stat=$(<"/proc/$1/stat")
    # shellcheck disable=SC2086 # its fields
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

note() {
    samples[$1]+="$2 "
}

# NAME OP DEPTH JOBS: requests a second, and nanoseconds of the server's for each.
measure() {
    local name=$1 before=0 after done_ pid=${server_of[$1]}
    [ -z "$pid" ] || before=$(ticks_of "$pid")
    done_=$("$load" "$2" "${device_of[$name]}" "$image" "$3" "$4" "$ms") || fail "$name: no figure"
    note "$name $2 $3 $4" $((done_ * 1000 / ms))
    [ -n "$pid" ] || return 0
    after=$(ticks_of "$pid")
    note "$name $2 $3 $4 cpu" $(((after - before) * tick_ns / (done_ + 1)))
}

# Devices of briq have a twin with two queues; the others take two jobs as they are.
measure_all() {
    local op depth name jobs
    for op in read write; do
        for depth in "${depths[@]}"; do
            for name in "${names[@]}"; do
                case $name in
                *-spin) [ "$op $depth" = "read 1" ] || continue ;;
                esac
                for jobs in 1 2; do
                    case $name in
                    *-2q) [ "$jobs" = 2 ] || continue ;;
                    briq | null | *-spin) [ "$jobs" = 1 ] || continue ;;
                    esac
                    measure "$name" "$op" "$depth" "$jobs"
                done
            done
        done
    done
    note nbd $(($("$load" nbd "nbd+unix:///?socket=$tmp/nbd.sock" "$ms") * 1000 / ms))
}

median() {
    [ -n "${samples[$1]:-}" ] || fail "nothing was measured of: $1"
    tr ' ' '\n' <<<"${samples[$1]}" | sed '/^$/d' | sort -n |
        awk '{ n[NR] = $1 } END { print n[int((NR + 1) / 2)] }'
}

# ---- telling --------------------------------------------------------------------------------------

report() {
    local op depth jobs name line
    printf '%-6s %5s %4s' op depth jobs
    printf ' %16s' "${shown[@]}"
    printf '\n'
    for op in read write; do
        for depth in "${depths[@]}"; do
            for jobs in 1 2; do
                printf '%-6s %5s %4s' "$op" "$depth" "$jobs"
                for name in "${shown[@]}"; do
                    line=$name
                    if [ "$jobs" = 2 ] && [ "$name" = briq ]; then line=briq-2q; fi
                    if [ "$jobs" = 2 ] && [ "$name" = null ]; then line=null-2q; fi
                    printf ' %16s' "$(cell "$line $op $depth $jobs")"
                done
                printf '\n'
            done
        done
    done
}

# Requests a second, and the server's time for one.
cell() {
    local text cpu
    [ -n "${samples[$1]:-}" ] || { echo - && return; }
    text=$(median "$1")
    cpu=${samples[$1 cpu]:-}
    [ -z "$cpu" ] || text+=" $(awk -v n="$(median "$1 cpu")" 'BEGIN { printf "%.1fus", n / 1000 }')"
    echo "$text"
}

# WHAT VALUE at-most|at-least BOUND: a line for each bar.
bar() {
    awk -v what="$1" -v value="$2" -v how="$3" -v bound="$4" 'BEGIN {
        met = how == "at-most" ? value <= bound : value >= bound
        printf "%-7s%s: %.2f, %s %.2f\n", met ? "met" : "MISSED", what, value, how, bound
    }'
}

divide() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", (b > 0 ? a / b : 0) }'
}

bars() {
    local pack unpack depth op
    read -r pack unpack <<<"$("$load" lz4 "$image")"
    echo "bare LZ4 of the same blocks: $pack ns to pack one, $unpack ns to unpack it"
    bar "server ns a read, over the floor, in unpackings" \
        "$(divide $(($(median "briq read 32 1 cpu") - $(median "null read 32 1 cpu"))) "$unpack")" at-most 1.25
    bar "server ns a write, over the floor, in packings" \
        "$(divide $(($(median "briq write 32 1 cpu") - $(median "null write 32 1 cpu"))) "$pack")" at-most 1.2
    for op in read write; do
        if [ -n "${device_of[loop]:-}" ]; then
            bar "IOPS of a $op at depth 32, to loop" \
                "$(divide "$(median "briq $op 32 1")" "$(median "loop $op 32 1")")" at-least 1
        fi
        if [ -n "${device_of[zram]:-}" ]; then
            for depth in "${depths[@]}"; do
                bar "IOPS of a $op at depth $depth, to zram (an aim)" \
                    "$(divide "$(median "briq $op $depth 1")" "$(median "zram $op $depth 1")")" at-least \
                    "$([ $op = read ] && echo 0.7 || echo 0.6)"
            done
        fi
    done
    if [ -n "${device_of[vdo]:-}" ]; then
        bar "IOPS of a write at depth 32, to dm-vdo" \
            "$(divide "$(median "briq write 32 1")" "$(median "vdo write 32 1")")" at-least 2
    fi
    local spun
    spun=$(divide "$(median nbd)" "$(median "briq-spin read 1 1")")
    if [ "$(nproc)" -lt 2 ]; then
        echo "not judged on one processor: two queues to one; spinning (time to that over NBD: $spun)"
        return
    fi
    for op in read write; do
        bar "two queues and jobs at depth 32, to one, $op" \
            "$(divide "$(median "briq-2q $op 32 2")" "$(median "briq $op 32 1")")" at-least 1.6
    done
    bar "time of a read at depth 1 with --spin 100, to that over NBD" "$spun" at-most 0.5
}

# ---- the run --------------------------------------------------------------------------------------

find /usr /lib /briq -xdev -type f -size -32M 2>/dev/null | tr '\n' '\0' |
    xargs -0 cat 2>/dev/null | head -c "$size" >"$image" || true
[ "$(stat -c %s "$image")" -ge 1048576 ] || fail "there are too few files here to make an image of"
echo "# Linux $(uname -r), $(nproc) processors, devices of $size, $rounds rounds of $ms ms"
make_ublk briq --queues 1 "mem:$size"
make_ublk null --queues 1 --null "$size"
make_ublk briq-2q --queues 2 "mem:$size"
make_ublk null-2q --queues 2 --null "$size"
make_ublk briq-spin --queues 1 --spin 100 "mem:$size"
make_loop
make_zram
make_null_blk
make_vdo
shown=()
for name in "${names[@]}"; do
    case $name in *-2q | *-spin) ;; *) shown+=("$name") ;; esac
done
briq serve --daemon --pid-file "$tmp/nbd.pid" --nbd "unix:$tmp/nbd.sock" "mem:$size"
cleanup kill "$(cat "$tmp/nbd.pid")"
"$tools/nbd_io" write "nbd+unix:///?socket=$tmp/nbd.sock" 0 <"$image"

for ((round = 1; round <= rounds; round++)); do
    measure_all
    echo "# round $round"
done
report
bars
