#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every option that a verb accepts stands in its --help and in its man page, and every option that
# stands there is accepted; the man pages are clean roff.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"

# Long options where they are defined: at the start of their line.
options_in_help() {
    sed -nE 's/^  (-[a-z], )?(--[a-z][a-z-]*).*/\2/p' | sort
}
options_in_man() {
    sed -n '/^\.SH OPTIONS/,/^\.SH [^O]/p' |
        sed -nE '/^\.TP/{n;s/\\f.//g;s/\\-/-/g;s/^(-[a-z], )?(--[a-z][a-z-]*).*/\2/p}' | sort
}

verbs=$(briq --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z]+) .*/\1/p')
expect_match "verbs" "$(tr '\n' ' ' <<<"$verbs")" "*create*import*export*info*check*resize*compact*"
briq help --man >"$tmp/briq.1"

for verb in $verbs; do
    briq "$verb" --help >"$tmp/help"
    briq help "$verb" | cmp - "$tmp/help"
    briq "$verb" -h | cmp - "$tmp/help"
    head -n 1 "$tmp/help" | grep -q "^Usage: briq $verb" || fail "$verb: no usage line"
    grep -q '^Examples:' "$tmp/help" || fail "$verb: no examples"
    [ "$(wc -L <"$tmp/help")" -le 80 ] || fail "$verb: help is wider than 80 columns"

    briq help --man "$verb" >"$tmp/$verb.1"
    expect_equal "options of $verb" "$(options_in_man <"$tmp/$verb.1")" \
        "$(options_in_help <"$tmp/help")"
    grep -q "^\.SS \"briq $verb\"" "$tmp/briq.1" || fail "briq(1) lacks $verb"

    for option in $(options_in_help <"$tmp/help"); do
        # Whatever else is wrong with that command line, the option is not unknown.
        said=$(briq "$verb" "$option" 2>&1 </dev/null || true)
        case $said in *"unknown option"*) fail "$verb does not know $option of its own help" ;; esac
        grep -q "${option//-/\\\\-}" "$tmp/briq.1" || fail "briq(1) lacks $option of $verb"
    done
done

if command -v groff >/dev/null; then
    for page in "$tmp"/*.1; do
        complaints=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        expect_equal "complaints about ${page##*/}" "$complaints" ""
    done
fi

expect_match "version" "$(briq --version)" "*[0-9].[0-9]*LZ4 1.*"
