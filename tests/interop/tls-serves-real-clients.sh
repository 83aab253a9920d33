#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients with TLS - nbdinfo, nbdcopy, nbdsh, qemu-img - work with certificates and with pre-shared
# keys, over Unix sockets and TCP, on both engines, and read what they wrote. The URI says TLS where
# it is required. nbd-client lists exports over TLS; in the clear it is told them where TLS is
# offered, and nothing where it is required.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/pki.sh
source "$BRIQ_SOURCE/tests/lib/pki.sh"
requires_frontend serve
requires nbdinfo --version
requires qemu-img --version

make_authority "$tmp/pki"
make_certificate "$tmp/pki" server
make_certificate "$tmp/pki" client
make_keys "$tmp/keys.psk" anna bert
briq create "$tmp/disk.briq" 32M
make_image() {
    dd if=/dev/urandom bs=1M count=9 of="$1" status=none
    truncate -s 32M "$1"
}

with_certificates() {
    serve_volume --tls-certificates="$tmp/pki" "$tmp/disk.briq"
    expect_match "URI" "$uri" "nbds+unix:///?socket=*"
    local secure="nbds+unix://localhost/?${uri#*\?}&tls-certificates=$tmp/pki"
    expect_match "nbdinfo" "$(nbdinfo "$secure")" "*with TLS*export-size: $((32 << 20))*"
    make_image "$tmp/image"
    nbdcopy "$tmp/image" "$secure"
    nbdcopy "$secure" "$tmp/copy"
    cmp "$tmp/image" "$tmp/copy"
    nbdsh -c "h.set_uri_allow_local_file(True)" -c "h.connect_uri('$secure')" -c 'import os
for n in 1, 511, 16384, 16385, 100001, 7 << 20:
    data = os.urandom(n)
    h.pwrite(data, 12345)
    assert h.pread(n, 12345) == data, n
h.flush()
h.trim(1 << 20, 12 << 20)
assert h.pread(4096, 12 << 20) == bytes(4096)
import json, subprocess
daemon, = json.loads(subprocess.check_output(["briq", "stat", "--json"]))
client, = [c for c in daemon["clients"] if c["counters"]["trim"]["ops"]]
assert client["tls"] is True and client["in_flight"] == 0, client
count = sum((1, 511, 16384, 16385, 100001, 7 << 20, 4096))
assert client["counters"]["read"] == {"ops": 7, "bytes": count, "errors": 0}, client
h.shutdown()'
    stop_server
}

# QEMU finds certificates by a directory as well, and keys by "keys.psk" in one.
with_qemu() {
    local port
    serve_volume --nbd=tcp:127.0.0.1:0 "--tls-$1=$2" "$tmp/disk.briq"
    port=$(tcp_port)
    local target=driver=nbd,host=127.0.0.1,port=$port,export=disk,tls-creds=creds
    make_image "$tmp/image"
    qemu-img convert --object "$3" --image-opts --target-image-opts -n \
        "driver=raw,file.driver=file,file.filename=$tmp/image" "$target"
    qemu-img compare --object "$3" --image-opts "driver=raw,file.driver=file,file.filename=$tmp/image" "$target"
    qemu-img map --object "$3" --image-opts "$target" --output=json | grep -q '"zero": true' ||
        fail "qemu-img sees no holes"
    stop_server
}

tcp_port() {
    "$PYTHON" - "$server_pid" <<'PY'
import os, sys
pid = sys.argv[1]
inodes = set()
for fd in os.listdir(f"/proc/{pid}/fd"):
    target = os.readlink(f"/proc/{pid}/fd/{fd}")
    if target.startswith("socket:["):
        inodes.add(target[8:-1])
for line in open("/proc/net/tcp"):
    fields = line.split()
    if fields[3] == "0A" and fields[9] in inodes:
        print(int(fields[1].split(":")[1], 16))
PY
}

with_keys() {
    serve_volume --tls=on --tls-psk="$tmp/keys.psk" "$tmp/disk.briq"
    expect_match "URI" "$uri" "nbd+unix:///?socket=*" # TLS is not needed
    expect_match "nbdinfo" "$(nbdinfo "$uri")" "*without TLS*"
    local secure="nbds+unix://bert@/?${uri#*\?}&tls-psk-file=$tmp/keys.psk"
    expect_match "nbdinfo" "$(nbdinfo "$secure")" "*with TLS*"
    make_image "$tmp/image"
    nbdcopy "$tmp/image" "$secure"
    nbdcopy --connections=4 "$secure" "$tmp/copy"
    cmp "$tmp/image" "$tmp/copy"
    make_keys "$tmp/wrong-$BRIQ_FRONTEND.psk" bert
    expect_failure 1 nbdinfo "nbds+unix://bert@/?${uri#*\?}&tls-psk-file=$tmp/wrong-$BRIQ_FRONTEND.psk"
    expect_match "nbdinfo" "$(nbdinfo "$secure")" "*with TLS*"
    stop_server
}

with_nbd_client() {
    command -v nbd-client >/dev/null || return 0
    serve_volume --nbd=tcp:127.0.0.1:0 "--tls=$1" --tls-certificates="$tmp/pki" "$tmp/disk.briq"
    local status=0
    said=$(nbd-client -l 127.0.0.1 "$(tcp_port)" 2>&1) || status=$?
    case $1 in
    on) expect_match "nbd-client" "$said" "*disk*" ;;
    *) [[ $said != *disk* ]] || fail "nbd-client was told names in the clear: $said" ;;
    esac
    expect_match "nbd-client over TLS" "$(nbd-client -l 127.0.0.1 "$(tcp_port)" -enable-tls \
        -cacertfile "$tmp/pki/ca-cert.pem" -tlshostname localhost)" "*disk*"
    stop_server
}

mkdir "$tmp/psk-dir"
cp "$tmp/keys.psk" "$tmp/psk-dir/keys.psk"
for BRIQ_FRONTEND in serve serve-threads; do
    echo "$BRIQ_FRONTEND"
    with_certificates
    with_keys
    with_qemu certificates "$tmp/pki" \
        "tls-creds-x509,id=creds,dir=$tmp/pki,endpoint=client,verify-peer=yes"
    with_qemu psk "$tmp/keys.psk" "tls-creds-psk,id=creds,dir=$tmp/psk-dir,endpoint=client,username=anna"
    with_nbd_client on
    with_nbd_client require
done
briq check --deep "$tmp/disk.briq"
