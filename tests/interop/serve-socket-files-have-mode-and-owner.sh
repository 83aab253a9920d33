#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Unix socket has the mode and owner that were asked for, by default its user's alone, whatever the
# umask; and it is never more open than that, not even between being made and being ready.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve

mode() {
    stat -c %a "$tmp/server.sock"
}
for mask in 0000 0022 0077 0777; do
    umask "$mask"
    serve_volume mem:1M
    umask 0022
    expect_equal "mode by default, umask $mask" "$(mode)" 600
    stop_server
    for wanted in 0660 0666 600 0777; do
        umask "$mask"
        serve_volume --socket-mode="$wanted" mem:1M
        umask 0022
        expect_equal "mode $wanted, umask $mask" "$(mode)" "${wanted#0}"
        stop_server
    done
done

# What the calls say, in their order: the file appears at bind(), takes connections at listen().
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    umask 0000
    # The leak checker cannot look at a traced process.
    ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 \
        strace -f -o "$tmp/calls" -e trace='bind,listen,fchmod,?chmod,fchmodat,?fchmodat2,fchownat' \
        briq serve mem:1M --windows-dir "$windows" --nbd "unix:$tmp/traced.sock" --socket-mode 0640 --run true
    umask 0022
    expect_match "calls" "$(grep -o '^[0-9]* *[a-z]*([^)]*' "$tmp/calls" | tr '\n' ' ')" \
        "*fchmod(*, 0640*bind(*traced.sock*0640*listen(*"
fi

if [ "$(id -u)" -eq 0 ]; then
    serve_volume --socket-mode=0660 --socket-owner=12345:54321 mem:1M
    expect_equal "mode and owner" "$(stat -c '%a %u %g' "$tmp/server.sock")" "660 12345 54321"
    stop_server
    serve_volume --socket-owner=:54321 mem:1M
    expect_equal "mode and owner" "$(stat -c '%a %u %g' "$tmp/server.sock")" "600 0 54321"
    stop_server
    serve_volume --socket-owner=daemon mem:1M
    expect_equal "mode and owner" "$(stat -c '%a %U %g' "$tmp/server.sock")" "600 daemon 0"
    stop_server
fi

# Who may not give it away is told so, and no socket is left.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    mkdir -m 777 "$tmp/open"
    chmod 755 "$tmp"
    chmod 777 "$tmp/open"
    program=$(command -v briq)
    cd "$tmp/open" # whoever may not go there by its path is there already
    expect_failure 2 setpriv --reuid 12345 --clear-groups --bounding-set -chown --inh-caps -chown \
        "$program" serve mem:1M --no-windows-file --nbd unix:sock --socket-owner 54321
    cd - >/dev/null
    expect_match "message" "$said" "*cannot give the socket to its owner*"
    [ ! -e "$tmp/open/sock" ] || fail "the socket was left behind"
fi
for word in --socket-mode=0668 --socket-mode=rw --socket-owner=no-such-user --socket-owner=:; do
    expect_failure 2 briq serve mem:1M --nbd "unix:$tmp/refused.sock" "$word"
    expect_match "message" "$said" "briq serve: ${word%%=*}: *"
done
