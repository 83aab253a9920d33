#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# boot-golden-image.sh IMAGE NAME - a machine NAME from a cloud image (raw, qcow2, ...): imports it
# into a volume of its own, makes it larger, and boots it with a cloud-init seed that sets the host
# name and lets the SSH keys of this user in. Nothing is there to clean up but NAME.briq.
set -eu -o pipefail

image=${1:?usage: boot-golden-image.sh IMAGE NAME}
name=${2:?usage: boot-golden-image.sh IMAGE NAME}
size=${SIZE:-20G}

if [ ! -e "$name.briq" ]; then
    briq import "$image" "$name.briq"
    briq resize "$name.briq" "$size" # cloud-init grows the file system at the first boot
fi

seed=$(mktemp -d)
trap 'rm -rf "$seed"' EXIT
printf 'instance-id: %s\nlocal-hostname: %s\n' "$name" "$name" >"$seed/meta-data"
{
    printf '#cloud-config\nssh_authorized_keys:\n'
    sed 's/^/  - /' "$HOME"/.ssh/*.pub
} >"$seed/user-data"
# The label is what cloud-init looks for. The seed is read once: --small spares it the tuning.
genisoimage -quiet -volid cidata -joliet -rock -output "$seed/seed.iso" \
    "$seed/user-data" "$seed/meta-data"

briq-vm launch "$name.briq" --vm "$name" --cpus 2 --memory 2G --small "$seed/seed.iso" -- \
    -nic user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:2222-:22
