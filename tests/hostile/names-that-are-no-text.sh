#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A name of controls, or of bytes that are no text, comes back as text; nor does it write lines of its
# own into the log.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile names_that_are_no_text
server_log >"$tmp/log"
PYTHONPATH=$BRIQ_SOURCE/tests/lib "$PYTHON" - "$tmp/log" <<'PY'
import sys
import nbd_raw

with open(sys.argv[1], encoding="utf-8") as log:
    lines = log.read().rstrip("\n").split("\n")
asked = [line for line in lines if "unknown export" in line]
assert len(asked) >= 24, f"{len(asked)} lines of unknown names"
for line in lines:
    assert nbd_raw.has_no_controls(line) and line.startswith("briq: "), repr(line)
    assert not line.startswith("briq: error"), repr(line)
PY
