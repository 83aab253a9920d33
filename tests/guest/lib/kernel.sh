# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kernel.sh - which kernel the guest boots and where it is kept: what fetch-kernel leaves and
# make-initramfs takes.
#   GUEST_KERNEL   a directory with vmlinuz, modules/ and release, instead of a fetched one

guest_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
GUEST_SUITE=${GUEST_SUITE:-bookworm-backports}
GUEST_PACKAGE=${GUEST_PACKAGE:-linux-image-cloud-amd64}
GUEST_CACHE=${GUEST_CACHE:-$guest_source/build/guest}
case $GUEST_CACHE in
/*) ;;
*) GUEST_CACHE=$guest_source/$GUEST_CACHE ;;
esac

kernel_directory() {
    echo "${GUEST_KERNEL:-$GUEST_CACHE/kernel-$GUEST_SUITE}"
}
