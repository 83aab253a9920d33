#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every option that a verb of briq-vm explains is accepted and stands in its man page; what it does not
# know it refuses in one line; the page is clean roff; --print shows commands that a shell takes.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"

# Those options of a verb that it does not know. In one process: an interpreter for each takes long.
unknown_options() {
    "$PYTHON" - "$@" <<'PY'
import contextlib, io, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["BRIQ_SOURCE"], "qemu"))
from briqvm.main import main
verb, *options = sys.argv[1:]
for option in options:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        with contextlib.suppress(SystemExit):
            main([verb, option])
    if "unrecognized" in said.getvalue():
        print(option)
PY
}

export XDG_RUNTIME_DIR=$tmp
briq-vm help --man >"$tmp/briq-vm.1"
verbs=$(briq-vm --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z]+) .*/\1/p')
expect_equal "verbs" "$(xargs <<<"$verbs")" "launch attach detach list resize revive doctor"

for verb in $verbs; do
    briq-vm "$verb" --help >"$tmp/help"
    briq-vm help "$verb" | cmp - "$tmp/help"
    head -n 1 "$tmp/help" | grep -q "^Usage: briq-vm $verb" || fail "$verb: no usage line"
    [ "$(wc -L <"$tmp/help")" -le 80 ] || fail "$verb: help is wider than 80 columns"
    section=$(sed -n "/^\.SS \"briq.-vm $verb\"/,/^\.SS/p" "$tmp/briq-vm.1")
    options=$(sed -nE 's/^  (--[a-z-]+).*/\1/p' "$tmp/help")
    [ "$(wc -w <<<"$options")" -ge 5 ] || fail "$verb explains too few options: $options"
    for option in $options; do
        grep -qF -- "${option//-/\\-}" <<<"$section" || fail "briq-vm(1) lacks $option of $verb"
    done
    # shellcheck disable=SC2086 # words
    unknown=$(unknown_options "$verb" $options)
    expect_equal "options that $verb explains and does not know" "$unknown" ""
    expect_failure 2 briq-vm "$verb" --no-such-option
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
done
expect_failure 2 briq-vm no-such-verb

if command -v groff >/dev/null; then
    expect_equal "complaints of groff" "$(groff -man -Tutf8 -ww -z "$tmp/briq-vm.1" 2>&1)" ""
fi

briq create "$tmp/it's a disk, yes.briq" 16M
for form in blockdev drive; do
    briq-vm launch "$tmp/it's a disk, yes.briq" --run-dir "$tmp" --form "$form" --accel tcg --print \
        -- -device 'virtio-rng-pci,id=a b' >"$tmp/print"
    # The words survive the shell, the last ones are the user's, and nothing was started.
    words=$(sed -n '/^qemu-system/,$p' "$tmp/print" | xargs printf '%s\n')
    expect_equal "the last word" "$(tail -n 1 <<<"$words")" "virtio-rng-pci,id=a b"
    expect_match "command of $form" "$words" "*discard*unmap*"
done
expect_equal "owner" "$(briq info --json "$tmp/it's a disk, yes.briq" | grep -c '"owner": null')" 1

if ! briq-vm launch "$tmp/it's a disk, yes.briq" --run-dir "$tmp" --print --json |
    "$PYTHON" -c 'import json, sys; assert json.load(sys.stdin)["qemu"][0] == "qemu-system-x86_64"'; then
    fail "launch --print --json is not what it should be"
fi
