#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --metrics: what Prometheus reads is in its format and exact; 50 scrapes at a time are all answered,
# and clients that send garbage, half a request or nothing disturb neither them nor the clients of
# the volumes. Addresses that others can reach must be asked for.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
export PYTHONPATH=$BRIQ_SOURCE/tests/lib

cat >"$tmp/scrape.py" <<'PY'
import concurrent.futures
import os
import socket
import sys

import figures
import nbd_raw as nbd
import prometheus

path, metrics, log = sys.argv[1:]

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(metrics)
    return s

def answer(s):
    data = b""
    while True:
        more = s.recv(1 << 16)
        if not more:
            return data
        data += more

def ask(request):
    with connect() as s:
        s.sendall(request)
        return answer(s)

def scrape(request=b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"):
    head, body = ask(request).split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "HTTP/1.1 200 OK", lines[0]
    assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(fields["Content-Length"]) == len(body), "cut off"
    return body.decode()

def exact():
    with nbd.Client(path) as c:
        c.go("disk")
        for i in range(30):
            c.call(nbd.CMD_WRITE, i * 4096, 4096, payload=os.urandom(4096))
        for i in range(20):
            c.call(nbd.CMD_READ, i * 4096, 4096)
        c.call(nbd.CMD_READ, 1 << 40, 4096)
        text = scrape()
    with open(log, "w", encoding="utf-8") as out:
        out.write(text)
    families = prometheus.parse(text)
    requests, duration = families["briq_export_requests_total"], "briq_export_request_duration_seconds"
    labels = {"export": "disk", "volume": "mem:64M"}
    for kind, ops, count, errors in (("read", 21, 20 * 4096, 1), ("write", 30, 30 * 4096, 0),
                                     ("flush", 0, 0, 0), ("trim", 0, 0, 0)):
        of = {**labels, "kind": kind}
        assert requests[of] == ops
        assert families["briq_export_request_bytes_total"][of] == count
        assert families["briq_export_request_errors_total"][of] == errors
        assert families[duration].samples[f"{duration}_count", tuple(sorted(of.items()))] == ops
    assert families["briq_export_connections"][labels] == 1
    assert families["briq_export_requests_in_flight"][labels] == 0
    assert families["briq_volume_size_bytes"][labels] == 64 << 20
    assert families["briq_volume_mapped_bytes"][labels] == 30 * 4096
    assert families["briq_connections_accepted_total"][{}] >= 1
    # The other export's name is what no label may be without care.
    odd = {"export": 'o"d\\d\nn%FFme'}
    assert families["briq_volume_size_bytes"][odd] == 32 << 20, "names"

def many():
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        texts = list(pool.map(lambda _: scrape(), range(100)))
    for text in texts[::25]:
        prometheus.parse(text)

def status(request):
    return ask(request).split(b"\r\n")[0]

def send(s, data):
    """To a server that may have closed already."""
    try:
        s.sendall(data)
    except BrokenPipeError:
        pass

def has_gone(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True

def garbage():
    assert status(b"GET /metrics?a=b HTTP/1.0\n\n") == b"HTTP/1.1 200 OK"
    assert b"\r\n\r\n" == ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")[-4:]
    assert status(b"GET / HTTP/1.1\r\n\r\n") == b"HTTP/1.1 404 Not Found"
    assert status(b"POST /metrics HTTP/1.1\r\n\r\n") == b"HTTP/1.1 405 Method Not Allowed"
    for bad in b"\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", \
            b"GET /metrics SPDY/3\r\n\r\n", b" GET /metrics HTTP/1.1\n\n":
        assert status(bad) == b"HTTP/1.1 400 Bad Request", bad
    assert status(b"GET /" + b"a" * 20000) == b"HTTP/1.1 431 Request Header Fields Too Large"
    # A hundred clients that never come to the point; one cannot even read.
    idle = [connect() for _ in range(100)]
    for s in idle[::2]:
        send(s, b"GET /metr")
    deaf = connect()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    many()
    assert has_gone(idle[0]), "nobody made way"
    for s in idle + [deaf]:
        s.close()
    gone = connect()
    gone.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    gone.close()
    scrape()

exact()
many()
garbage()
with nbd.Client(path) as c:
    assert c.go("disk").call(nbd.CMD_READ, 0, 4096)[0] == 0
PY

for engine in serve serve-threads; do
    echo "$engine"
    BRIQ_FRONTEND=$engine
    # shellcheck disable=SC1003 # a backslash is meant
    serve_volume --metrics="unix:$tmp/metrics" disk=mem:64M $'o"d\\d\nn\xffme=mem:32M'
    "$PYTHON" "$tmp/scrape.py" "$tmp/server.sock" "$tmp/metrics" "$tmp/scraped"
    stop_server
    [ ! -e "$tmp/metrics" ] || fail "the socket of the metrics is left"
done

if command -v promtool >/dev/null; then
    said=$(promtool check metrics <"$tmp/scraped" 2>&1) || fail "promtool: $said"
    expect_equal "what promtool finds" "$said" ""
else
    echo "there is no promtool"
fi

# Over TCP, at loopback addresses unless another one is written out.
tcp() {
    serve_volume --metrics="$1" mem:64M
    local url
    url=$(server_log | sed -n 's/.*metrics: //p')
    "$PYTHON" -c 'import sys, urllib.request as r, prometheus as p
p.parse(r.urlopen(sys.argv[1]).read().decode())' "$url"
    local hex
    hex=$(printf %04X "$(sed -E 's/.*:([0-9]+).*/\1/' <<<"$url")")
    listens=$(awk -v port=":$hex" 'index($2, port) && $4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6)
    stop_server
}
tcp tcp:0
expect_match "what tcp:PORT listens at" "$listens" "0100007F:*"
tcp tcp::0
expect_match "what tcp::PORT listens at" "$listens" "0100007F:*"
tcp tcp:127.0.0.1:0
tcp tcp:0.0.0.0:0
expect_match "what tcp:0.0.0.0 listens at" "$listens" "00000000:*"

serve_volume_refused --metrics=somewhere mem:64M
expect_match "a refusal" "$said" "*somewhere: no address*"
serve_volume_refused --metrics=tcp:0.0.0.0 mem:64M
serve_volume_refused --metrics="unix:$tmp" mem:64M
expect_match "a refusal" "$said" "*exists and is no socket*"
