#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --allow lets in users and groups on Unix sockets and addresses on TCP; whoever else connects is
# disconnected at once, counted and logged; without it everybody is let in. On both engines.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires nbdinfo --version

# Whether a client at ADDRESS:PORT or at the Unix socket is greeted. Not through libnbd: what it binds
# to is its own choice.
greeted() {
    "$PYTHON" - "$@" <<'PY'
import socket, sys
to, *source = sys.argv[1:]
if to.startswith("/"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(to)
else:
    host, port = to.rsplit(":", 1)
    s = socket.create_connection((host, int(port)), source_address=(source[0], 0) if source else None)
try:
    sys.exit(len(s.recv(18, socket.MSG_WAITALL)) != 18)
except ConnectionResetError:
    sys.exit(1)
PY
}
turned_away() {
    if greeted "$@"; then
        fail "$BRIQ_FRONTEND: a client from ${2-here} to $1 was let in"
    fi
}
# The URIs name the port: it is free, and not ours to choose.
tcp_address() {
    "$PYTHON" - "$server_pid" "$1" <<'PY'
import os, sys
pid, table = sys.argv[1:]
ours = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
for line in open(f"/proc/net/{table}"):
    fields = line.split()
    if fields[3] == "0A" and f"socket:[{fields[9]}]" in ours:
        print(int(fields[1].split(":")[1], 16))
PY
}

for BRIQ_FRONTEND in serve serve-threads; do
    serve_volume --nbd=tcp:127.0.0.1:0 mem:1M
    greeted "$tmp/server.sock"
    greeted "127.0.0.1:$(tcp_address tcp)"
    stop_server

    # Addresses. Nobody on a Unix socket has one.
    serve_volume --nbd=tcp:0.0.0.0:0 --allow=127.0.0.2 --allow=127.0.1.0/24 mem:1M
    at=127.0.0.1:$(tcp_address tcp)
    for source in 127.0.0.2 127.0.1.0 127.0.1.255; do
        greeted "$at" "$source" || fail "$BRIQ_FRONTEND: $source was turned away"
    done
    for source in 127.0.0.1 127.0.0.3 127.0.0.22 127.0.2.0 127.0.0.255; do
        turned_away "$at" "$source"
    done
    turned_away "$tmp/server.sock"
    expect_match "figures" "$(briq stat)" "* 0 connections now, 3 so far, 0 refused, 6 not allowed*"
    stop_server
    said=$(server_log)
    # 6 of them: the first, second and fourth get a line.
    expect_equal "lines about them" "$(grep -c 'not allowed was turned away' <<<"$said")" 3
    expect_match "log" "$said" "*(4 so far)*"

    if [ -e /proc/net/if_inet6 ] && grep -q '^0\{31\}1 ' /proc/net/if_inet6; then
        serve_volume '--nbd=tcp:[::1]:0' --allow=::1 --allow=uid:"$(id -u)" mem:1M
        greeted "::1:$(tcp_address tcp6)"
        greeted "$tmp/server.sock"
        stop_server
        serve_volume '--nbd=tcp:[::1]:0' --allow=::2/127 --allow=unix mem:1M
        turned_away "::1:$(tcp_address tcp6)"
        greeted "$tmp/server.sock"
        stop_server
    fi

    # A socket that a service manager made for both families: IPv4 comes inside IPv6.
    "$PYTHON" - briq serve mem:1M --engine "${BRIQ_FRONTEND/serve-threads/threads}" --allow 127.0.0.2 <<'PY' || fail "IPv4 inside IPv6"
import os, signal, socket, sys
listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
port = listener.getsockname()[1]
command = [word if word != "serve" or n == 2 else "ring" for n, word in enumerate(sys.argv)][1:]
pid = os.fork()
if pid == 0:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execvp(command[0], command)
listener.close()
seen = []
for source in "127.0.0.2", "127.0.0.1":
    with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as s:
        try:
            seen.append(len(s.recv(18, socket.MSG_WAITALL)))
        except ConnectionResetError:
            seen.append(0)
os.kill(pid, signal.SIGTERM)
assert os.waitpid(pid, 0)[1] == 0
sys.exit(seen != [18, 0])
PY

    # Users and groups.
    serve_volume --allow=uid:"$(id -u)" --socket-mode=0666 mem:1M
    greeted "$tmp/server.sock"
    if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
        chmod 755 "$tmp"
        # Prints "in" or "out" for a client with UID GID GROUPS. It stands in the directory, to which it
        # may have no way.
        as() {
            local ids=(--reuid "$1" --regid "$2" --clear-groups)
            [ -z "$3" ] || ids=(--reuid "$1" --regid "$2" --groups "$3")
            (cd "$tmp" && setpriv "${ids[@]}" "$PYTHON" -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("server.sock")
try:
    print("in" if len(s.recv(18, socket.MSG_WAITALL)) == 18 else "out")
except ConnectionResetError:
    print("out")')
        }
        expect_equal "the user, of another group" "$(as 0 12345 '')" in
        expect_equal "another user" "$(as 12345 0 '')" out
        stop_server
        serve_volume --allow=uid:12345 --allow=gid:4321 --socket-mode=666 mem:1M
        expect_equal "the user" "$(as 12345 12345 '')" in
        expect_equal "the group" "$(as 54321 4321 '')" in
        expect_equal "a supplementary group" "$(as 54321 54321 1,4321,7)" in
        expect_equal "a group of the user's number" "$(as 54321 12345 1,2,3)" out
        turned_away "$tmp/server.sock"
    fi
    stop_server
done

for rule in uid:no-such-user 10.1.2.3/8 10.0.0.0/33 localhost; do
    expect_failure 2 briq serve mem:1M --nbd "unix:$tmp/refused.sock" --allow "$rule"
    expect_match "message" "$said" "briq serve: --allow: *"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
done
