#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Where the kernel has no ublk driver, the verbs of `briq ublk` say so in one line that tells what to
# do; mistakes on the command line are told before that.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

[ ! -e /dev/ublk-control ] || skip "needs: a machine without a ublk driver"

refused() {
    local pattern=${*: -1} said status=0
    said=$(briq ublk "${@:1:$#-1}" 2>&1) || status=$?
    expect_equal "exit code of briq ublk $*" "$status" 2
    expect_equal "lines of briq ublk $*" "$(wc -l <<<"$said")" 1
    expect_match "briq ublk $*" "$said" "$pattern"
}

driver='*ublk*modprobe ublk_drv*CONFIG_BLK_DEV_UBLK*'
briq create "$tmp/disk.briq" 16M
refused add --foreground "$tmp/disk.briq" "$driver"
refused add "$tmp/disk.briq" "$driver"
refused features "$driver"
refused del 0 "$driver"
refused stop --all "$driver"
refused list "$driver"

refused add "*missing argument: VOLUME*"
refused add "$tmp/none" "*none: No such file*"
refused add mem:1G --queues none "*--queues*neither auto nor 1 to 128*"
refused add mem:1G --depth 4097 "*--depth*4096*"
refused add mem:1G --on-death panic "*--on-death*queue, fail, remove*"
refused add mem:1G --affinity all "*--affinity*mask, one, none*"
refused add mem:1G --depth 2 --threads-per-queue 4 "*--threads-per-queue*--depth*"
refused stop "*DEVICE or --all*"
refused stop 0 --all "*DEVICE or --all*"
refused stop sda "*no device*"
refused resize 0 many "*not a size*"
refused stat 4095 "*no server of device 4095*"
refused nonsense "*unknown verb*briq ublk --help*"
refused "*missing verb*briq ublk --help*"
# Nothing has touched the volume.
expect_match "the volume" "$(briq check "$tmp/disk.briq")" "*sound*"
