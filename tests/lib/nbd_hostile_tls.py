# SPDX-License-Identifier: BSD-3-Clause
"""nbd_hostile_tls.py - clients that mean harm and ask for TLS: nbd_hostile_tls.py CASE SOCKET PID SEED

As nbd_hostile.py, to a server that offers TLS and does not insist on it; $BRIQ_PKI has its authority.
"""
import os
import ssl
import struct

import nbd_hostile
import nbd_raw as nbd
from nbd_raw import Client, Closed, option, request

HANDSHAKE, DATA = 22, 23
RECORD_MAX = 16384 + 256


def context():
    return ssl.create_default_context(cafile=os.path.join(os.environ["BRIQ_PKI"], "ca-cert.pem"))


class Engine:
    """A client's TLS without a socket: bytes in, bytes out."""

    def __init__(self):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def hello(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def shake(self, client):
        client.send(self.hello())
        while True:
            self.incoming.write(client.recv(1))
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.send(self.outgoing.read())
        client.send(self.outgoing.read())

    def sealed(self, data):
        self.tls.write(data)
        return self.outgoing.read()


def asked(server, **kwargs):
    """A client whose request for TLS was acknowledged."""
    client = server.client(**kwargs)
    assert client.ask(nbd.OPT_STARTTLS) == [(nbd.REP_ACK, b"")], "TLS is refused"
    return client


def secure(server):
    """A well-behaved client that has TLS."""
    client = asked(server)
    client.sock = context().wrap_socket(client.sock, server_hostname="localhost")
    return client


def must_be_well_over_tls(server):
    with secure(server) as client:
        client.go("disk")
        block = server.random.randbytes(70000)
        error, _ = client.call(nbd.CMD_WRITE, 8191, len(block), payload=block)
        assert error == 0, f"a write: {error}"
        error, chunks = client.call(nbd.CMD_READ, 8191, len(block))
        assert error == 0 and nbd.assemble(chunks, 8191, len(block)) == block, "wrong data"


def injected_options_are_refused(server):
    """
    What comes in the clear behind the request for TLS was put there by somebody between the two ends:
    it is never acted upon (CVE-2021-3716 was that).
    """
    injections = (option(nbd.OPT_STRUCTURED_REPLY), option(nbd.OPT_GO, nbd.go_payload("disk")),
                  option(nbd.OPT_EXPORT_NAME, b"disk"), option(nbd.OPT_ABORT), b"\0", b"IHAVE",
                  option(nbd.OPT_STARTTLS), Engine().hello(), bytes(100000))
    for injection in injections:
        with server.client() as client:
            client.send(option(nbd.OPT_STARTTLS) + injection)
            assert_not_served(client)
        with server.client() as client:  # what arrives later is taken for TLS, which it is not
            client.send(option(nbd.OPT_STARTTLS))
            if injection[:1] != b"\x16":
                client.send(injection)
                client.half_close()
                assert_not_served(client)
    must_be_well_over_tls(server)


def assert_not_served(client):
    """Nothing but an acknowledgment and TLS's own alert comes before the end."""
    data = b""
    try:
        while more := client.sock.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    ack = struct.pack(">QIII", nbd.REPLY_MAGIC, nbd.OPT_STARTTLS, nbd.REP_ACK, 0)
    rest = data[len(ack):] if data.startswith(ack) else data
    assert rest == b"" or rest[0] == 21 and len(rest) == 7, f"the server answered: {data!r}"


def state_before_tls_is_forgotten(server):
    """Structured replies and meta contexts that were agreed on in the clear do not count."""
    with server.client() as client:
        assert client.ask(nbd.OPT_STRUCTURED_REPLY)[-1][0] == nbd.REP_ACK
        assert client.ask(nbd.OPT_SET_META_CONTEXT,
                          nbd.meta_payload("disk", ("base:allocation",)))[-1][0] == nbd.REP_ACK
        assert client.ask(nbd.OPT_STARTTLS)[-1][0] == nbd.REP_ACK
        client.sock = context().wrap_socket(client.sock, server_hostname="localhost")
        kind, _ = client.ask(nbd.OPT_SET_META_CONTEXT,
                             nbd.meta_payload("disk", ("base:allocation",)))[-1]
        assert kind == nbd.ERR_INVALID, f"structured replies are still on: {kind:#x}"
        kind, _ = client.ask(nbd.OPT_STARTTLS)[-1]
        assert kind == nbd.ERR_INVALID, f"TLS within TLS: {kind:#x}"
        client.go("disk", structured=False)
        error, _ = client.call(nbd.CMD_BLOCK_STATUS, 0, 4096)
        assert error == nbd.EINVAL, f"block status without its context: {error}"
        error, _ = client.call(nbd.CMD_READ, 0, 4096)
        assert error == 0


def garbage_for_a_handshake(server):
    """Instead of a ClientHello: noise, another protocol, records that lie about their length."""
    hello = Engine().hello()
    noise = [server.random.randbytes(n) for n in (1, 5, 6, 100, 20000, 300000)]
    records = [struct.pack(">BHH", kind, version, length) + server.random.randbytes(length % 40000)
               for kind in (0, 20, 21, HANDSHAKE, DATA, 24, 255) for version in (0x300, 0x303, 0xffff)
               for length in (0, 1, 4, 16384, RECORD_MAX + 1, 65535)]
    bent = []
    for _ in range(100):
        bytes_ = bytearray(hello)
        for _ in range(server.random.randrange(1, 5)):
            bytes_[server.random.randrange(len(bytes_))] ^= 1 << server.random.randrange(8)
        bent.append(bytes(bytes_))
    for data in [b"GET / HTTP/1.0\r\n\r\n", bytes(65536), b"\xff" * 65536] + noise + records + bent:
        with asked(server) as client:
            client.send(data)
            client.half_close()
            assert client.is_closed()
    must_be_well_over_tls(server)


def half_a_handshake_held_open(server):
    """Clients stuck in the middle of it hold up nobody, and are gone when their time is over."""
    hello, stuck = Engine().hello(), []
    for n in range(20):
        client = asked(server)
        client.send(hello[:n * len(hello) // 20])
        stuck.append(client)
    finished = asked(server)  # and one that says nothing more after its part of it
    finished.send(hello)
    stuck.append(finished)
    silent = secure(server)  # nor one that has TLS, and names no export
    for _ in range(3):
        server.must_be_well()
        must_be_well_over_tls(server)
    for client in stuck:
        assert client.is_closed()
    try:
        assert silent.sock.recv(1) == b""
    except (ssl.SSLError, ConnectionResetError):
        pass


class Wire:
    """Between a client and the server: lets through so many bytes of the client's and then hangs up."""

    def __init__(self, server, limit):
        self.server, self.limit = Client(server.path), limit

    def send(self, data):
        part = data[:self.limit]
        self.limit -= len(part)
        self.server.send(part)
        if len(part) < len(data):
            raise Closed("as was meant")

    def recv(self, count):
        return self.server.recv(count)


def whole_session(wire):
    wire.send(option(nbd.OPT_STARTTLS))
    wire.recv(20)
    engine = Engine()
    engine.shake(wire)
    wire.send(engine.sealed(option(nbd.OPT_STRUCTURED_REPLY)))
    wire.send(engine.sealed(option(nbd.OPT_GO, nbd.go_payload("disk"))))
    wire.send(engine.sealed(request(nbd.CMD_WRITE, 100, 3000) + bytes(3000)))
    wire.send(engine.sealed(request(nbd.CMD_READ, 0, 1 << 20) * 4))
    try:
        engine.tls.unwrap()
    except ssl.SSLError:
        pass
    wire.send(engine.outgoing.read())


def closing_at_every_stage(server):
    """The client leaves behind any of its bytes, in one of three ways."""
    wire = Wire(server, 1 << 30)
    whole_session(wire)
    wire.server.close()
    end = (1 << 30) - wire.limit
    first = server.random.randrange(16)
    for limit in range(first, end, 16):
        wire = Wire(server, limit)
        try:
            whole_session(wire)
        except Closed:
            pass
        how = server.random.randrange(3)
        if how == 0:
            wire.server.reset()
        elif how == 1:
            wire.server.half_close()
            assert wire.server.is_closed()
        wire.server.close()
    must_be_well_over_tls(server)


def changed_records_are_noticed(server):
    """A bit that changed on the way ends the session: nothing of that record is acted upon."""
    for _ in range(30):
        with asked(server) as client:
            engine = Engine()
            engine.shake(client)
            client.send(engine.sealed(option(nbd.OPT_GO, nbd.go_payload("disk"))))
            write = bytearray(engine.sealed(request(nbd.CMD_WRITE, 1 << 20, 512) + b"x" * 512))
            write[server.random.randrange(5, len(write))] ^= 1 << server.random.randrange(8)
            client.send(bytes(write))
            assert client.is_closed()
    with secure(server) as client:
        client.go("disk")
        error, chunks = client.call(nbd.CMD_READ, 1 << 20, 512)
        assert error == 0 and nbd.assemble(chunks, 1 << 20, 512) == bytes(512), "a forged write was done"


def farewells_are_answered(server):
    """Who says goodbye in the middle of anything gets its answers, and a goodbye."""
    for requests in (0, 1, 3):
        client = secure(server)
        client.go("disk")
        for n in range(requests):
            client.send(request(nbd.CMD_WRITE, n << 16, 65536, cookie=n) + bytes(65536))
        replies = sorted(client.reply()[0] for _ in range(requests))
        assert replies == list(range(requests))
        if requests == 1:
            client.send(request(nbd.CMD_DISC))
            assert client.sock.recv(1) == b"", "no goodbye"  # an error without one
        else:
            client.sock.unwrap().close()
            continue
        client.close()


def replies_nobody_reads_over_tls(server):
    """Reads of 100 times what a socket holds, never read: the limits hold behind TLS, too."""
    server.fill()
    before, _ = nbd.memory_of(server.pid)
    clients = []
    for _ in range(4):
        client = secure(server).go("disk")
        client.sock.settimeout(0.2)
        try:
            for n in range(4000):
                client.sock.sendall(request(nbd.CMD_READ, n % 16 << 20, 1 << 20, cookie=n))
        except (TimeoutError, ssl.SSLError):
            pass
        clients.append(client)
    server.must_be_well()
    after, _ = nbd.memory_of(server.pid)
    for client in clients:
        client.reset()
    allowed = before + nbd_hostile.MEMORY_ALLOWANCE + 4 * (64 << 20)
    assert after < allowed, f"{before} bytes of memory became {after}"
    must_be_well_over_tls(server)


CASES = (injected_options_are_refused, state_before_tls_is_forgotten, garbage_for_a_handshake,
         half_a_handshake_held_open, closing_at_every_stage, changed_records_are_noticed,
         farewells_are_answered, replies_nobody_reads_over_tls)

if __name__ == "__main__":
    nbd_hostile.main(CASES)
