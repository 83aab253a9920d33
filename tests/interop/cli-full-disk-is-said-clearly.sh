#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# When the disk is full, import and export say so in one line, exit with 2, and leave no half file.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"

# A small file system of our own: as root, or as root of a namespace of ours.
private_mount=(unshare --mount)
"${private_mount[@]}" true 2>/dev/null || private_mount=(unshare --map-root-user --mount)
requires "${private_mount[@]}" mount -t tmpfs none "$tmp"

make_corpus "$tmp/raw" 48M
mkdir "$tmp/small"
briq import --quiet "$tmp/raw" "$tmp/whole.briq"

# Prints what is left on the full file system behind what the command says, and its exit code.
on_small_disk() {
    # shellcheck disable=SC2016 # the inner shell expands
    "${private_mount[@]}" bash -c '
        mount -t tmpfs -o size=16m none "$1" && cd "$1" || exit 99
        shift
        "$@" 2>&1
        echo "exit $?, left: $(ls)"' - "$tmp/small" "$@"
}

said=$(on_small_disk briq import --quiet "$tmp/raw" disk.briq)
expect_match "import" "$said" "briq import: disk.briq: no space left*exit 2, left: "
expect_equal "lines" "$(wc -l <<<"$said")" 2

said=$(on_small_disk briq import --quiet - disk.briq <"$tmp/raw")
expect_match "import of a stream" "$said" "briq import: disk.briq: *no space left*exit 2, left: "

said=$(on_small_disk briq export --quiet "$tmp/whole.briq" disk.img)
expect_match "export" "$said" "briq export: disk.img: *No space left*exit 2, left: "

said=$(on_small_disk briq create --preallocate disk.briq 1G)
expect_match "create" "$said" "briq create: disk.briq: *exit 2, left: "

# A limit is full in the same way.
expect_failure 2 briq import --quiet --limit 16M "$tmp/raw" "$tmp/limited.briq"
expect_match "limit" "$said" "briq import: $tmp/limited.briq: no space left*"
[ ! -e "$tmp/limited.briq" ] || fail "half a volume is left"

# A report that does not arrive is a failure too.
# shellcheck disable=SC2016 # the inner shell expands
expect_failure 2 bash -c 'briq info "$1" >/dev/full' - "$tmp/whole.briq"
expect_match "full output" "$said" "*standard output*No space left*"
