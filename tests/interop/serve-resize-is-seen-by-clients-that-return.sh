#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A served volume grows under load: QEMU's NBD client, which reconnects, verifies its data without
# an error and sees the new size; a client that comes later sees it too; shrinking is refused.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/control.sh
source "$BRIQ_SOURCE/tests/lib/control.sh"
requires_frontend serve
requires jq --version
requires fio --version
requires qemu-storage-daemon --version
requires_module nbd

# QEMU takes the new size, which must be the exact one. Its own server does not let it while it has
# the disk, so that goes and comes back.
cat >"$tmp/block_resize.py" <<'PY'
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
f.readline()

events = set()

def hear():
    answer = json.loads(f.readline())
    assert "error" not in answer, answer
    events.add(answer.get("event"))
    return answer

def execute(command, **arguments):
    f.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    f.flush()
    while "return" not in hear():
        pass

execute("qmp_capabilities")
execute("block-export-del", id="x", mode="hard")
while "BLOCK_EXPORT_DELETED" not in events:
    hear()
execute("block_resize", **{"node-name": "disk", "size": int(sys.argv[2])})
execute("block-export-add", **{"type": "nbd", "id": "x", "node-name": "disk", "name": "disk"})
PY

for engine in ring threads; do
    briq create "$tmp/disk.briq" 64M
    start_daemon one --engine "$engine" "$tmp/disk.briq" still=mem:1M
    rm -f "$tmp/qsd.pid"
    qemu-storage-daemon --daemonize --pidfile "$tmp/qsd.pid" \
        --chardev "socket,id=qmp,path=$tmp/qmp.sock,server=on,wait=off" --monitor chardev=qmp \
        --blockdev "driver=nbd,node-name=disk,server.type=unix,server.path=$tmp/one.sock,export=disk,reconnect-delay=20" \
        --nbd-server "addr.type=unix,addr.path=$tmp/qsd.sock" \
        --export type=nbd,id=x,node-name=disk,name=disk,writable=on
    qsd=$(cat "$tmp/qsd.pid")
    cleanup kill "$qsd"

    # It verifies all it wrote in the end, through however many connections.
    fio --thread --name=load --ioengine=nbd --uri="nbd+unix:///disk?socket=$tmp/qsd.sock" --rw=randwrite \
        --bs=4k --iodepth=16 --size=32M --io_size=96M --norandommap --verify=crc32c \
        --verify_state_save=0 --verify_fatal=1 --do_verify=1 --output="$tmp/fio.log" >"$tmp/fio.err" 2>&1 &
    fio=$!
    cleanup kill_process "$fio"
    rounds=0 dropped=0
    size=$((64 << 20))
    while kill -0 "$fio" 2>/dev/null && [ "$rounds" -lt 12 ]; do
        size=$((size + (4 << 20)))
        briq resize --json "$tmp/disk.briq" +4M >"$tmp/resized"
        expect_equal "size" "$(jq .size "$tmp/resized")" "$size"
        rounds=$((rounds + 1))
        dropped=$((dropped + $(jq .dropped "$tmp/resized")))
    done
    wait "$fio" || fail "fio failed: $(cat "$tmp/fio.log" "$tmp/fio.err")"
    [ "$dropped" -ge 2 ] || fail "the load was interrupted $dropped times in $rounds rounds"

    # QEMU has reconnected, and takes the exact new size.
    nbdsh -u "nbd+unix:///disk?socket=$tmp/qsd.sock" -c 'h.pread(512, 0)'
    "$PYTHON" "$tmp/block_resize.py" "$tmp/qmp.sock" "$size"
    expect_equal "size behind QEMU" "$(nbdinfo --size "nbd+unix:///disk?socket=$tmp/qsd.sock")" "$size"
    expect_equal "size" "$(nbdinfo --size "$(disk_uri one disk)")" "$size"

    expect_failure 2 briq resize disk 1M
    expect_match "message" "$said" "*cannot shrink*"
    expect_failure 2 briq resize disk 100
    # Nothing changes: nobody is dropped.
    expect_equal "dropped" "$(briq resize --json disk +0 | jq .dropped)" 0
    nbdsh -u "$(disk_uri one still)" -c 'import subprocess
subprocess.run(["briq", "resize", "disk", "+1M"], check=True)
h.pwrite(b"x" * 4096, 0)' # a connection to another export stays
    kill "$qsd"
    wait_gone "$qsd"
    briq shutdown
    wait "$one_pid"
    briq check --deep --quiet "$tmp/disk.briq"
    expect_equal "size" "$(briq info --json "$tmp/disk.briq" | jq .size)" $((size + (1 << 20)))
    rm -f "$tmp/disk.briq" "$tmp"/q*.sock
done
