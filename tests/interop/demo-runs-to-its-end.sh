#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the README's first command shows, with fewer files: every step works, and the table at the
# end has a figure in each row.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
requires mke2fs -V
requires nbdcopy --version
requires qemu-img --version

TMPDIR=$tmp DEMO_MB=24 "$BRIQ_SOURCE/demo/demo.sh" show >"$tmp/shown" || fail "it stopped"
grep -q '^identical to the original$' "$tmp/shown" || fail "nbdcopy's copy was not compared"
grep -q '^Images are identical.$' "$tmp/shown" || fail "qemu-img did not compare"
grep -q 'sound$' "$tmp/shown" || fail "the volume was not checked"
rows=$(sed -n '/^-- what it took$/,$p' "$tmp/shown" | grep -cE '^  [a-zA-Z].* [0-9]+(\.[0-9]+)?( M.*)?$')
expect_equal "rows with a figure" "$rows" 9
expect_equal "what is left behind" "$(find "$tmp" -name 'briq-demo*')" ""
