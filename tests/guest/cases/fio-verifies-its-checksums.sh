#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What fio writes through the kernel's block layer it reads back, by its own checksums: requests of 4
# to 128 KiB at random places, from two jobs, 16 in flight each.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

briq create --force "$disk" 256M
attach_volume "$disk"
verify_device --direct=1 --iodepth=16 --numjobs=2 --size=20M --offset_increment=128M --bsrange=4k-128k
detach_volume
briq check --deep --quiet "$disk"
