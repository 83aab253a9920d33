#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is wrong on the command line is refused before anything is touched, in one line that names it.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend nbdkit

briq create "$tmp/disk.briq" 1M
cp "$tmp/disk.briq" "$tmp/before"

refused() { # GLOB PARAMETER...
    local glob=$1
    shift
    serve_volume_refused "$@"
    expect_match "message for '$*'" "$said" "$glob"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
}
disk=$tmp/disk.briq
refused "*no volume given*" io=direct
refused "*unknown parameter 'colour'*--help*" "$disk" colour=red
refused "*io=mmap*'buffered' or 'direct'*" "$disk" io=mmap
refused "*cache=lots*not a size*" "$disk" io=direct cache=lots
refused "*cache=*io=direct*" "$disk" cache=64M
refused "*accel*" "$disk" accel=0
refused "*accel=65*1 to 64*" "$disk" accel=65
refused "*accel=fast*number*" "$disk" accel=fast
refused "*streams*1 to 8*" "$disk" streams=9
refused "*windows-file=maybe*'on' or 'off'*" "$disk" windows-file=maybe
refused "*windows-dir=*windows-file=off*" "$disk" windows-dir="$tmp" windows-file=off
refused "*export=x*volume before it*" export=x "$disk"
refused "*export=*" "$disk" export=
refused "*volume=*" volume=
refused "*$tmp/absent.briq*" "$tmp/absent.briq"
refused "*$tmp*" "$tmp"
refused "*mem:*" mem:
refused "*mem:1X*" mem:1X
refused "*mem:1M*" mem:1M,limit=
refused "*mem:1M*" mem:1M,colour=red
refused "*mem:8T*" mem:8T
refused "*mem:1000*" mem:1000
head -c 1M /dev/zero >"$tmp/zeros"
refused "*$tmp/zeros*" "$tmp/zeros"
cmp "$tmp/before" "$disk" || fail "a refused start changed the volume"
