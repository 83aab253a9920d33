# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ublk.sh - volumes as ublk devices.
#   ublk_add [OPTION]... VOLUME   makes a device: $device, its number $id, its server $server_pid;
#                                 it goes away with the case
#   ublk_server                   the process that serves it now
#   ublk_kill                     SIGKILL for the server, and waits until it is gone
#   ublk_recover                  a new server for a device that has none
#   ublk_replace                  a new server in the place of a living one
#   ublk_del                      the end, with its server
#   ublk_refused WORDS... -- WHY  `briq ublk WORDS` must fail, and say WHY (a pattern)
#   ublk_feature NAME             whether the kernel has UBLK_F_NAME
#   ublk_counts N                 sums up column N of `briq ublk stat`'s lines, a line each
#   ublk_attach, ublk_detach, ublk_abandon   what attach_volume and its like come to

id=

ublk_server() {
    sed -n 's/^pid=//p' "/run/briq/ublk$id"
}

ublk_add() {
    local said
    requires_driver ublk_drv
    said=$(briq ublk add --windows-dir "$windows" "$@") || fail "briq ublk add $*: no device"
    echo "$said"
    device=${said%%:*}
    id=${device#/dev/ublkb}
    server_pid=$(ublk_server)
    cleanup ublk_remove "$id"
}

# Also as a cleanup, when it may be gone already.
ublk_remove() {
    if [ -e "/sys/class/ublk-char/ublkc$1" ]; then briq ublk del --force "$1"; fi
}

# Whether the process is gone, or waits only for its parent to hear of it.
ublk_server_ended() {
    local state
    state=$(sed 's/.*) //' "/proc/$server_pid/stat" 2>/dev/null | cut -c1)
    [ -z "$state" ] || [ "$state" = Z ]
}

# It is nobody's child here: /proc tells of its end.
ublk_kill() {
    server_pid=$(ublk_server)
    kill -KILL "$server_pid"
    until ublk_server_ended; do :; done
}

ublk_take_over() {
    briq ublk recover "$@" >"$tmp/recover.log" 2>&1 || fail "recover: $(cat "$tmp/recover.log")"
    server_pid=$(ublk_server)
}

ublk_recover() {
    ublk_take_over "$id"
}

ublk_replace() {
    ublk_take_over --replace "$id"
}

ublk_del() {
    briq ublk del "$id"
    [ ! -e "$device" ] || fail "$device is still there"
    ublk_server_ended || fail "the server is still there"
}

ublk_refused() {
    local words=() said
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    if said=$(briq ublk "${words[@]}" 2>&1); then
        fail "briq ublk ${words[*]}: succeeded, and should have been refused"
    fi
    expect_equal "lines of the refusal" "$(wc -l <<<"$said")" 1
    expect_match "refusal" "$said" "$2"
    echo "refused: $said"
}

ublk_feature() {
    briq ublk features | grep -qw "UBLK_F_$1"
}

ublk_counts() {
    briq ublk stat "$id" | sed -n "s/.* \([0-9]*\) $1.*/\1/p"
}

# From the plugin's parameters.
ublk_attach() {
    local words=() word
    for word in "$@"; do
        case $word in
        io=direct) words+=(--direct) ;;
        *=*) words+=("--${word%%=*}" "${word#*=}") ;;
        *) words+=("$word") ;;
        esac
    done
    ublk_add "${words[@]}"
}

ublk_detach() {
    ublk_del
}

ublk_abandon() {
    ublk_kill
    briq ublk del --force "$id"
}
