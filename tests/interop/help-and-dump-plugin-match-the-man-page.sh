#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# nbdkit briq --help and --dump-plugin say what the man page says.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend nbdkit
requires nbdkit --version
probe_pid= # start_nbdkit sets it
pod=$BRIQ_SOURCE/nbdkit-plugin/nbdkit-briq-plugin.pod

# Every parameter in the man page's list is in --help, and is taken by the plugin. Where a value is
# not good the plugin says so; it must never say that it does not know the parameter.
nbdkit --help briq >"$tmp/help"
mapfile -t keys < <(sed -n '/^=for briq-help begin/,/^=for briq-help end/p' "$pod" |
    sed -n 's/^=item [^a-z]*<\([a-z-]*\)=.*/\1/p')
[ ${#keys[@]} -ge 8 ] || fail "the man page lists only: ${keys[*]}"
for key in "${keys[@]}"; do
    grep -q "^\[\{0,1\}$key=" "$tmp/help" || fail "--help does not name $key="
    rm -f "$tmp/probe.log"
    if try_nbdkit probe briq mem:1M "$key=?"; then kill_process "$probe_pid"; fi
    if grep "unknown parameter" "$tmp/probe.log"; then fail "the plugin does not know $key="; fi
done

# And the other way round: what the synopsis shows is described.
sed -n '/^=head1 SYNOPSIS/,/^=head1 DESC/p' "$pod" | grep -o '[a-z-]\+=' | sort -u |
    while read -r key; do
        printf '%s\n' "${keys[@]}" | grep -qx -- "${key%=}" || fail "$key is not described"
    done

nbdkit briq --dump-plugin >"$tmp/dump"
sed -n '/^=head1 DUMP/,/^=head1 FILES/p' "$pod" | sed -n 's/^=item B<\([a-z0-9_]*\)=>.*/\1/p' |
    sort >"$tmp/described"
grep -o '^briq_[a-z0-9_]*' "$tmp/dump" | sort >"$tmp/dumped"
diff "$tmp/described" "$tmp/dumped" || fail "--dump-plugin and the man page differ"
grep -qx "thread_model=parallel" "$tmp/dump" || fail "the thread model is not parallel"
grep -qx "errno_is_preserved=1" "$tmp/dump" || fail "errno is not preserved"
! grep -qE '^briq_[a-z0-9_]*=$' "$tmp/dump" || fail "a key has no value"
