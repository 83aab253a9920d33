#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Bash completes what the program itself says it has: every verb, every option of a verb, file names.
source "$BRIQ_SOURCE/tests/lib/functions.sh"
source "$BRIQ_SOURCE/cli/briq.bash"

# Outside of a completion there is no such builtin.
compopt() { :; }

completions() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _briq
    echo "${COMPREPLY[*]}"
}

expect_equal "completion of 'briq im'" "$(completions briq im)" import
expect_equal "completion of 'briq help resi'" "$(completions briq help resi)" resize

# Every verb of the overview, and every option that a verb explains.
verbs=$(briq --help | awk '/^Verbs:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ { print $1 }')
[ "$(wc -w <<<"$verbs")" -ge 9 ] || fail "briq --help lists too few verbs: $verbs"
expect_equal "completion of 'briq '" "$(completions briq '')" "$(sort <<<"$verbs" | xargs)"

for verb in $verbs; do
    options=$(completions briq "$verb" --)
    expect_match "options of $verb" " $options " "* --help *"
    help=$(briq "$verb" --help)
    for option in $options; do
        grep -qF -- "$option" <<<"$help" || fail "briq $verb has no $option"
    done
done
expect_match "options of import" " $(completions briq import --) " "* --quiet *"

cd "$tmp" || exit
touch disk.briq
expect_equal "completion of 'briq info di'" "$(completions briq info di)" disk.briq
