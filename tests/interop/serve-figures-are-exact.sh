#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the server says it has done is what its clients have asked for, to the request and the byte:
# requests of every kind, errors, requests in flight, batches, clients; whoever has left is still
# counted, and a reset begins anew without losing any of it.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires fio --version
export PYTHONPATH=$BRIQ_SOURCE/tests/lib

cat >"$tmp/raw.py" <<'PY'
import os
import sys

import figures
import nbd_raw as nbd
from nbd_raw import Client, request

path = sys.argv[1]

def every_kind():
    with Client(path) as c:
        c.go("one")
        for i in range(10):
            assert c.call(nbd.CMD_WRITE, i << 16, 5000, payload=os.urandom(5000))[0] == 0
        for i in range(7):
            assert c.call(nbd.CMD_READ, i << 16, 5000)[0] == 0
        assert c.call(nbd.CMD_READ, 32 << 20, 1 << 20)[0] == 0
        assert c.call(nbd.CMD_FLUSH)[0] == 0
        assert c.call(nbd.CMD_TRIM, 0, 65536)[0] == 0
        assert c.call(nbd.CMD_WRITE_ZEROES, 65536, 4096)[0] == 0
        assert c.call(nbd.CMD_CACHE, 0, 8192)[0] == 0
        assert c.call(nbd.CMD_BLOCK_STATUS, 0, 1 << 20)[0] == 0
        # Refused: behind the end, of nothing that there is, with flags that there are not.
        assert c.call(nbd.CMD_READ, 64 << 20, 4096)[0] == nbd.EINVAL
        assert c.call(nbd.CMD_WRITE, 64 << 20, 512, payload=bytes(512))[0] == nbd.ENOSPC
        assert c.call(77)[0] == nbd.EINVAL
        assert c.call(nbd.CMD_FLUSH, flags=1 << 12)[0] == nbd.EINVAL
        now = figures.export("one")
        client, = now["clients"]
        assert client["peer"] == f"pid {os.getpid()}, uid {os.getuid()}", client["peer"]
        assert client["tls"] is False
        assert client["counters"]["taken"] == 27, client["counters"]
        assert now["connections"] == 1
        for kind, ops, count, errors in (("read", 9, 35000 + (1 << 20), 1), ("write", 11, 50000, 1),
                                         ("flush", 2, 0, 1), ("trim", 1, 65536, 0),
                                         ("zero", 1, 4096, 0), ("cache", 1, 8192, 0),
                                         ("status", 1, 0, 0), ("other", 1, 0, 1)):
            figures.check_kind(now, kind, ops, count, errors)
            assert client["counters"][kind] == now["counters"][kind]
        assert now["counters"]["refused"] == 4
        assert now["counters"]["hole_bytes"] == 1 << 20
        figures.check_sums(now)
    then = figures.when_idle("one")
    assert then["clients"] == [] and then["counters"] == now["counters"], "figures went with the client"
    other = figures.export("two")
    assert other["counters"]["taken"] == 0 and other["latency"] == {}

def batches():
    with Client(path) as c:
        c.go("two")
        c.send(b"".join(request(nbd.CMD_READ, i * 4096, 4096, cookie=i) for i in range(20)))
        assert sorted(c.reply()[0] for _ in range(20)) == list(range(20))
        now = figures.export("two")
        # One write of the client is one receive, or more when the server was that fast.
        assert 1 <= now["receive_max"] <= 20, now
        # Answers leave when a batch is worked off: all of it was in flight at once.
        assert min(now["receive_max"], 4) <= now["in_flight_max"] <= 20, now
        assert now["send_max"] <= 20 and now["counters"]["sends"] <= 20
        assert now["counters"]["receives"] <= 20
        figures.check_sums(now)

def in_flight():
    with Client(path) as c:
        c.go("two")
        before = figures.export("two")["counters"]
        c.send(request(nbd.CMD_WRITE, 0, 65536) + bytes(1000))
        now = figures.wait_until("two", lambda found: found["in_flight"] == 1)
        assert now["counters"]["taken"] == before["taken"] + 1
        assert now["counters"]["write"] == before["write"], "counted before it was answered"
    then = figures.when_idle("two")
    assert then["counters"]["abandoned"] == before["abandoned"] + 1
    figures.check_sums(then)

every_kind()
batches()
in_flight()
PY

# What fio says it has sent, as the server counts it.
cat >"$tmp/fio.py" <<'PY'
import json
import sys

import figures

with open(sys.argv[1], encoding="ascii") as out:
    text = out.read()
sent = {"read": [0, 0], "write": [0, 0], "trim": [0, 0]}
for job in json.loads(text[text.index("{"):])["jobs"]:
    for kind, figure in sent.items():
        figure[0] += job[kind]["total_ios"]
        figure[1] += job[kind]["io_bytes"]
found = figures.when_idle("one")
for kind, figure in sent.items():
    figures.check_kind(found, kind, *figure)
assert sent["read"][0] > 1000 and sent["write"][0] > 1000, sent
assert found["counters"]["flush"]["ops"] > 0 and found["counters"]["flush"]["errors"] == 0
assert 4 <= found["in_flight_max"] <= 16, found["in_flight_max"]
assert found["counters"]["connections"] >= 4
figures.check_sums(found)
# The volume has counted the same.
assert found["store"]["counters"]["write_bytes"] == sent["write"][1]
PY

# A reset, seen by snapshot-stats; stat goes on counting.
cat >"$tmp/reset.py" <<'PY'
import json
import subprocess
import sys

import figures
import nbd_raw as nbd

def snapshot(*words):
    out = subprocess.run(["briq", "snapshot-stats", "--json", *words], check=True, stdout=subprocess.PIPE)
    daemon = json.loads(out.stdout)
    return next(e for e in daemon["exports"] if e["name"] == "one")

total = figures.export("one")["counters"]
assert snapshot("reset")["counters"]["read"] == total["read"]
since = snapshot()
assert all(since["counters"][kind]["ops"] == 0 for kind in figures.KINDS), since["counters"]
assert "latency" not in since, "quantiles of nothing"
with nbd.Client(sys.argv[1]) as c:
    c.go("one")
    for i in range(5):
        c.call(nbd.CMD_READ, i * 4096, 4096)
since = snapshot()
figures.check_kind(since, "read", 5, 5 * 4096)
assert list(since["latency"]) == ["read"] and since["latency"]["read"]["counters"]["count"] == 5
assert figures.export("one")["counters"]["read"]["ops"] == total["read"]["ops"] + 5
PY

for engine in serve serve-threads; do
    echo "$engine"
    BRIQ_FRONTEND=$engine
    serve_volume one=mem:64M two=mem:64M
    "$PYTHON" "$tmp/raw.py" "$tmp/server.sock"
    stop_server

    briq create --force "$tmp/one.briq" 64M
    serve_volume "$tmp/one.briq"
    fio --name=mix --ioengine=nbd --uri="$(uri_of one)" --rw=randrw --bs=4k --iodepth=16 --numjobs=4 \
        --size=16M --offset_increment=16M --number_ios=1000 --fsync=100 --randseed="$seed" \
        --output-format=json --output="$tmp/fio.json"
    "$PYTHON" "$tmp/fio.py" "$tmp/fio.json"
    "$PYTHON" "$tmp/reset.py" "$tmp/server.sock"
    stop_server
done
