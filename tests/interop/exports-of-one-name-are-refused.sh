#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two volumes that would have the same export name are refused at the start, in a line naming both.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"

mkdir "$tmp/a" "$tmp/b"
briq create "$tmp/a/disk.briq" 1M
briq create "$tmp/b/disk.briq" 1M

serve_volume_refused "$tmp/a/disk.briq" "$tmp/b/disk.briq"
expect_match "message" "$said" "*$tmp/a/disk.briq*$tmp/b/disk.briq*'disk'*NAME*"
expect_equal "lines of it" "$(wc -l <<<"$said")" 1
serve_volume_refused mem:1M mem:2M
expect_match "message" "$said" "*mem:1M*mem:2M*'mem'*"

serve_volume "$tmp/a/disk.briq" "$tmp/b/disk.briq" export=other mem:1M mem:2M export=m2
stop_server
