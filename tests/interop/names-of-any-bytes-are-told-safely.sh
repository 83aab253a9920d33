#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Exports and files may have names of any bytes: lists stay lists, no terminal gets its controls, and
# JSON stays JSON.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd

odd=$'o"d\xffd\n\x1b[31m'
briq create "$tmp/file"$'\xe2'.briq 1M
serve_volume "$odd=$tmp/file"$'\xe2'.briq plain=mem:1M
control=$(echo "$BRIQ_RUN_DIR"/*.control)

briq list >"$tmp/list"
expect_equal "lines of the list" "$(wc -l <"$tmp/list")" 3
for verb in list stat snapshot-stats; do
    briq "$verb" | LC_ALL=C grep -q $'[\x01-\x09\x0b-\x1f\x7f]' && fail "$verb: controls are shown"
done
briq list --json >"$tmp/list.json"
briq stat --json >"$tmp/stat.json"
briq stat --json --interval 0.1 --count 1 >"$tmp/rates.json"
briq snapshot-stats --json --control "$control" >"$tmp/snapshot.json"
"$PYTHON" - "$tmp"/{list,stat,rates,snapshot}.json <<'PY'
import json
import sys

def exports(found):
    found = found["daemons"] if isinstance(found, dict) and "daemons" in found else found
    return [export for daemon in (found if isinstance(found, list) else [found])
            for export in daemon["exports"]]

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        odd, plain = exports(json.load(file))
    assert odd["name"] == 'o"d%FFd\n\x1b[31m', odd["name"]
    assert odd["volume"].endswith("/file%E2.briq") and plain["name"] == "plain"
PY

# It is reached by the bytes that it has.
nbdsh -u "$(briq list --json | jq -r '.[0].exports[0].uri')" -c 'h.pwrite(b"x" * 512, 0)'
briq detach --force "$odd" # the client may not have been missed yet
expect_equal "exports" "$(briq list --json | jq -c '[.[0].exports[].name]')" '["plain"]'
stop_server
