#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A running daemon takes a volume on, shows it, cares for it and lets it go, while a client of
# another volume works undisturbed; what cannot be attached is told clearly and harms nothing. The
# offline verbs find the daemon by any path of a volume.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/control.sh
source "$BRIQ_SOURCE/tests/lib/control.sh"
requires_frontend serve
requires jq --version
requires_module nbd

for engine in ring threads; do
    briq create "$tmp/first.briq" 64M
    briq create "$tmp/second.briq" 32M
    make_corpus "$tmp/raw" 8M
    start_daemon one --engine "$engine" "$tmp/first.briq"
    expect_equal "mode of the socket" "$(stat -c %a "$BRIQ_RUN_DIR/one.control")" 600
    expect_equal "mode of its directory" "$(stat -c %a "$BRIQ_RUN_DIR")" 700

    # The load that must not notice anything.
    start_client "$(disk_uri one first)"

    uri=$(cd "$tmp" && briq attach other=second.briq)
    expect_equal "its URI" "$uri" "$(disk_uri one other)"
    expect_equal "its volume" "$(stat_of other .volume)" "$tmp/second.briq"
    nbdcopy "$tmp/raw" "$uri"
    nbdcopy "$uri" "$tmp/back"
    cmp -n $((8 << 20)) "$tmp/back" "$tmp/raw"

    # What cannot be.
    echo "no volume" >"$tmp/bad.briq"
    expect_failure 2 briq attach "$tmp/bad.briq"
    expect_match "message" "$said" "briq attach: $tmp/bad.briq: *"
    expect_failure 2 briq attach "$tmp/absent.briq"
    expect_match "message" "$said" "*absent.briq: does not exist"
    expect_failure 2 briq attach "$tmp/second.briq"
    expect_match "message" "$said" "*already open in this process*"
    expect_failure 2 briq attach other=mem:1M
    expect_match "message" "$said" "*would both be export 'other'*"

    # Verbs for volumes that are closed go there; a link is the same volume.
    ln -s "$tmp/second.briq" "$tmp/link"
    expect_equal "data" "$(briq info --json "$tmp/link" | jq .mapped)" $((8 << 20))
    expect_equal "export" "$(briq info --json "$tmp/link" | jq -r .served.export)" other
    briq checkpoint "$tmp/link"
    nbdsh -u "$uri" -c 'h.trim(4 << 20, 0)'
    briq compact --quiet --json "$tmp/link" >"$tmp/compacted"
    [ "$(jq .stored "$tmp/compacted")" -lt $((8 << 20)) ] || fail "compact: $(cat "$tmp/compacted")"
    expect_failure 2 briq check "$tmp/link"
    expect_match "message" "$said" "*serves it as 'other'*\`briq detach other\`*"
    briq dump "$tmp/link" superblock >"$tmp/dump" 2>"$tmp/said"
    expect_match "warning" "$(cat "$tmp/said")" "briq dump: *in use by briq*"
    briq create "$tmp/third.briq" 1M
    briq attach --read-only "rest=$tmp/third.briq" >"$tmp/said"
    expect_equal "read-only" "$(stat_of rest .read_only)" true

    briq detach "$tmp/link"
    expect_equal "what is left of it" "$(stat_of other .name)" ""
    briq check --deep --quiet "$tmp/second.briq"
    expect_equal "clean" "$(briq info --json "$tmp/second.briq" | jq .clean)" true
    expect_failure 2 briq detach other
    expect_equal "message" "$said" "briq detach: no daemon serves 'other': see \`briq list\`"
    briq detach rest

    kill "$client"
    end_of_client
    check_written "$(disk_uri one first)"
    briq shutdown
    wait "$one_pid" || fail "the daemon ended with $?"
    briq check --deep --quiet "$tmp/first.briq"
    [ ! -e "$BRIQ_RUN_DIR/one.control" ] || fail "the control socket is still there"
    rm -f "$tmp"/*.briq "$tmp/link"
done
