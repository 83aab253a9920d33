# SPDX-License-Identifier: BSD-3-Clause
"""nbd_hostile.py - clients that mean harm, each a case: nbd_hostile.py CASE SOCKET PID SEED

The server under test has an export "disk" of 64 MiB, unless the case says otherwise, which is also its
default export. After every case a well-behaved client must find the server as it was, and the server
must have kept to bounds of memory and processor time: that is checked here for all of them. Nothing
is timed: what must end ends with an event, a reply or a closed connection, or the test's own time limit
strikes. Raises AssertionError when the server does what it must not. Cases of many clients at a time are
in nbd_crowd.py.
"""
import os
import random
import select
import struct
import sys

import nbd_crowd
import nbd_raw as nbd
import nbd_record
from nbd_raw import Client, Closed, option, request

LENGTHS = (0, 1, 511, 4097, (32 << 20) + 1, 2**31 - 1, 2**31, 2**32 - 4096, 2**32 - 1)
ALL_OPTIONS = tuple(range(0, 13)) + (255, 2**31, 2**32 - 1)
# What a case may cost the server, unless it says otherwise (case.memory, case.cpu). The address sanitizer
# keeps what was freed, and everything takes longer with it.
SANITIZER = 6 if os.environ.get("BRIQ_BUILD", "build") != "build" else 1
MEMORY_ALLOWANCE = 64 << 20
CPU_ALLOWANCE = 10.0 # seconds


class Server:
    def __init__(self, path, pid, seed):
        self.path, self.pid, self.random = path, pid, random.Random(seed)
        self.ended = False  # by the case

    def client(self, **kwargs):
        return Client(self.path, **kwargs)

    def admitted(self):
        """A client, once the server has seen that those before it are gone: until then it may refuse."""
        while True:
            try:
                return self.client()
            except Closed:
                pass

    def size(self):
        with self.client() as client:
            return client.go("disk").size

    def fill(self):
        """16 MiB of data at the start: reads there have long answers."""
        with self.admitted() as client:
            client.go("disk")
            for n in range(16):
                error, _ = client.call(nbd.CMD_WRITE, n << 20, 1 << 20,
                                       payload=self.random.randbytes(1 << 20))
                assert error == 0, f"filling: {error}"

    def must_be_well(self):
        """A new client is served: it finds the export, writes, reads back."""
        with self.admitted() as client:
            client.go("disk")
            block = self.random.randbytes(4096)
            error, _ = client.call(nbd.CMD_WRITE, 8192, 4096, payload=block)
            assert error == 0, f"a write after it all: {error}"
            error, chunks = client.call(nbd.CMD_READ, 8192, 4096)
            assert error == 0 and nbd.assemble(chunks, 8192, 4096) == block, "wrong data after it all"
            client.send(request(nbd.CMD_DISC))
            assert client.is_closed()


def any_reply_or_closed(client):
    """Replies until an answer that ends an option, or the end: both are decent."""
    try:
        while True:
            _, kind, _ = client.option_reply()
            if kind == nbd.REP_ACK or kind & nbd.REP_ERR:
                return kind
    except Closed:
        return None


# ---- options -------------------------------------------------------------------------------------


def names_of_every_length(server):
    """Export names up to the 4096 bytes of the protocol and beyond, in every option that has one."""
    for length in (0, 1, 255, 256, 257, 1024, 4095, 4096, 4097, 8192, 65536):
        name = b"n" * length
        for number in (nbd.OPT_EXPORT_NAME, nbd.OPT_INFO, nbd.OPT_GO, nbd.OPT_LIST_META_CONTEXT,
                       nbd.OPT_SET_META_CONTEXT):
            with server.client() as client:
                client.ask(nbd.OPT_STRUCTURED_REPLY)
                payload = {nbd.OPT_EXPORT_NAME: name, nbd.OPT_INFO: nbd.go_payload(name),
                           nbd.OPT_GO: nbd.go_payload(name)}.get(number, nbd.meta_payload(name))
                client.send(option(number, payload))
                kind = any_reply_or_closed(client) if length > 0 or number != 1 else None
                lenient = number in (nbd.OPT_LIST_META_CONTEXT, nbd.OPT_SET_META_CONTEXT)
                assert kind != nbd.REP_ACK or length == 0 or lenient and length <= 4096, \
                    f"option {number} took a name of {length}"
        with server.client() as client:
            kind, text = client.ask(nbd.OPT_GO, nbd.go_payload(name))[-1]
            assert len(text) <= 4096, f"an error text of {len(text)} bytes"
            if kind & nbd.REP_ERR and length <= 4096:
                client.go("disk")  # haggling goes on


def names_that_are_no_text(server):
    """What is said of a name can be shown to people, whatever bytes it has."""
    names = (b"\x1b[31m\nbriq: error: forged", b"\xff\xfe", b"\xc2\x9b1m", b"a\0b", b"\xe2\x82",
             b"x" * 63 + "\N{EURO SIGN}".encode() * 9, b"\x80" * 200, server.random.randbytes(300))
    for name in names:
        for number in (nbd.OPT_INFO, nbd.OPT_GO, nbd.OPT_LIST_META_CONTEXT, nbd.OPT_SET_META_CONTEXT):
            with server.client() as client:
                client.ask(nbd.OPT_STRUCTURED_REPLY)
                payload = nbd.go_payload if number < nbd.OPT_STRUCTURED_REPLY else nbd.meta_payload
                kind, text = client.ask(number, payload(name))[-1]
                assert kind == nbd.ERR_UNKNOWN
                assert nbd.has_no_controls(text.decode()), f"said of {name!r}: {text!r}"
                client.go("disk")


def option_lengths_that_lie(server):
    """The length of the payload, and the lengths inside it, up to 2^32-1."""
    for number in ALL_OPTIONS:
        for length in (4097, 65537, 2**31 - 1, 2**31, 2**32 - 1):
            with server.client() as client:
                client.send(option(number, b"x" * 100, length))
                client.half_close()
                assert client.is_closed()
    for inner in (6, 255, 4097, 2**16, 2**31 - 1, 2**32 - 8, 2**32 - 6, 2**32 - 4, 2**32 - 1):
        for payload in inner_lies(inner):
            number, data = payload
            with server.client() as client:
                client.ask(nbd.OPT_STRUCTURED_REPLY)
                kind, _ = client.ask(number, data)[-1]
                assert kind & nbd.REP_ERR, f"option {number} with an inner length of {inner}: {kind}"
                client.go("disk")


def inner_lies(inner):
    yield nbd.OPT_GO, nbd.go_payload("disk", name_length=inner)
    yield nbd.OPT_INFO, nbd.go_payload("disk", infos=(3,), name_length=inner)
    yield nbd.OPT_SET_META_CONTEXT, nbd.meta_payload("disk", ("base:allocation",), name_length=inner)
    yield nbd.OPT_SET_META_CONTEXT, nbd.meta_payload("disk", ("base:allocation",), query_count=inner)
    yield nbd.OPT_LIST_META_CONTEXT, nbd.meta_payload("disk", ("base:",), query_length=inner)
    yield nbd.OPT_GO, nbd.go_payload("disk")[:-2] + struct.pack(">H", 0xFFFF)
    yield nbd.OPT_GO, struct.pack(">I", inner)


def options_in_any_order(server):
    """A random walk: any option, any payload; the server answers each, or closes."""
    for _ in range(300):
        with server.client(flags=server.random.choice((1, 3))) as client:
            for _ in range(server.random.randrange(1, 12)):
                number = server.random.choice(ALL_OPTIONS)
                client.send(option(number, random_payload(server.random)))
                if number == nbd.OPT_EXPORT_NAME or any_reply_or_closed(client) is None:
                    break
                if number == nbd.OPT_GO:
                    client.half_close()  # perhaps transmission, perhaps still options
                    break


def random_payload(rng):
    name = rng.choice(("", "disk", "no such", "d" * 300))
    return rng.choice((
        b"", name.encode(), nbd.go_payload(name), nbd.go_payload(name, infos=(0, 1, 2, 3, 77)),
        nbd.meta_payload(name), nbd.meta_payload(name, ("base:allocation",)),
        nbd.meta_payload(name, ("base:", "qemu:dirty-bitmap:x", "", "x" * 200)),
        rng.randbytes(rng.randrange(0, 64))))


def storm_of_options(server):
    """100,000 options without reading an answer: they wait in the socket and not in the server."""
    with server.client() as client:
        client.sock.settimeout(0.2)  # the server stops reading: so does the storm
        storm = (option(nbd.OPT_LIST) + option(99, b"y" * 4000)) * 50
        try:
            for _ in range(1000):
                client.sock.sendall(storm)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        server.must_be_well()


def unknown_client_flags(server):
    """A flag that the server does not know: it must hang up."""
    for flags in (4, 1 << 31, 2**32 - 1):
        with server.client(flags=flags) as client:
            assert client.is_closed()


def garbage_for_options(server):
    for _ in range(100):
        with server.client() as client:
            client.send(server.random.randbytes(server.random.randrange(1, 5000)))
            client.half_close()
            assert client.is_closed()


# ---- closing -------------------------------------------------------------------------------------


def whole_session():
    """What a client sends from its flags to the end, in one piece."""
    parts = [struct.pack(">I", 3), option(nbd.OPT_STRUCTURED_REPLY),
             option(nbd.OPT_SET_META_CONTEXT, nbd.meta_payload("disk", ("base:allocation",))),
             option(nbd.OPT_GO, nbd.go_payload("disk", (0, 3))),
             request(nbd.CMD_WRITE, 4096, 512, cookie=1), b"w" * 512,
             request(nbd.CMD_READ, 0, 65536, cookie=2), request(nbd.CMD_FLUSH, cookie=3),
             request(nbd.CMD_BLOCK_STATUS, 0, 1 << 20, cookie=4),
             request(nbd.CMD_WRITE_ZEROES, 1 << 20, 65536, cookie=5),
             request(nbd.CMD_TRIM, 2 << 20, 65536, cookie=6), request(nbd.CMD_DISC)]
    return b"".join(parts)


def closing_at_every_byte(server):
    """The connection ends behind each byte of a session, by a close or a reset, answers unread."""
    session = whole_session()
    for count in range(len(session) + 1):
        client = server.client(greet=False)
        client.send(session[:count])
        if server.random.random() < 0.5:
            client.reset()
        else:
            client.close()


def half_closing_at_every_byte(server):
    """The client will send no more: the server sees it, answers what it has, and hangs up."""
    session = whole_session()
    for count in list(range(0, len(session), 3)) + [len(session)]:
        with server.client(greet=False) as client:
            client.send(session[:count])
            client.half_close()
            assert client.is_closed()


def recorded_session_closing_at_every_byte(server):
    """What libnbd sends, cut off behind each byte: closed, reset, or half closed and waited for."""
    session = nbd_record.session(server)
    for count in range(len(session) + 1):
        client = server.client(greet=False)
        client.send(session[:count])
        how = server.random.randrange(3)
        if how == 0:
            client.half_close()
            assert client.is_closed()
        (client.close, client.reset, client.close)[how]()


def replies_closing_at_every_byte(server):
    """The same in the other direction: the client leaves behind each byte of the server's replies."""
    session = nbd_record.session(server)
    with server.client(greet=False) as client:
        client.send(session)
        replies = client.recv_all()
    print(f"{len(session)} bytes of requests, {len(replies)} bytes of replies")
    assert len(replies) > 500
    for count in range(len(replies) + 1):
        leave_behind(server, session, count)


def leave_behind(server, session, count):
    """Reads so many bytes of the replies, and goes. Again when there were too many before it still."""
    while True:
        client = server.client(greet=False)
        client.send(session)
        try:
            client.recv(count)
            break
        except Closed:
            assert not client.received, "the replies ended early"
        finally:
            server.random.choice((client.close, client.reset))()


def largest_length_at_every_byte(server):
    """2^32-1 in place of any four bytes of a session, and 2^64-1 in many places."""
    session = nbd_record.session(server)
    for width, step in ((4, 1), (8, 4)):
        for at in range(0, len(session) - width + 1, step):
            with server.client(greet=False) as client:
                client.send(session[:at] + b"\xff" * width + session[at + width:])
                client.half_close()
                assert client.is_closed()


def thousand_connects_and_drops(server):
    """None of them leaves a descriptor behind, once the server has seen that it is gone."""
    before = nbd.descriptors_of(server.pid)
    for _ in range(1000):
        client = server.client(greet=False)
        server.random.choice((client.close, client.reset))()
    while nbd.descriptors_of(server.pid) > before + 2:
        server.must_be_well()


# ---- requests ------------------------------------------------------------------------------------


def offsets(size):
    return (0, 1, size - 4096, size - 1, size, size + 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 4096,
            2**64 - 1)


def is_outside(off, length, size):
    return off + length > size


def lengths_at_every_offset(server):
    """Reads, trims, zeroes, caches, status: what lies outside is an error, the rest is answered."""
    size = server.size()
    for kind in (nbd.CMD_READ, nbd.CMD_TRIM, nbd.CMD_CACHE, nbd.CMD_WRITE_ZEROES, nbd.CMD_BLOCK_STATUS):
        for off in offsets(size):
            with server.client() as client:
                client.go("disk")
                for length in LENGTHS:
                    if kind == nbd.CMD_READ and not is_outside(off, length, size) and length > 1 << 20:
                        continue
                    try:
                        error, _ = client.call(kind, off, length)
                    except Closed:
                        assert kind == nbd.CMD_READ and length > 32 << 20, "hung up for no reason"
                        client.close()
                        client = server.client().go("disk")
                        continue
                    if is_outside(off, length, size):
                        assert error != 0, f"command {kind} at {off}+{length} of {size} was carried out"


def largest_ranges_of_a_large_export(server):
    """Lengths around 2^31 and 2^32 that lie inside, at odd places; with extended headers all of it."""
    size = server.size()
    lengths = (2**31 - 1, 2**31, 2**31 + 1, 2**32 - 4096, 2**32 - 511, 2**32 - 1)
    with server.client() as client:
        client.go("disk")
        for length in lengths:
            for off in (0, 1, 511, 4095, 2**32 - 1, 2**33 + 7, size - length):
                for kind in (nbd.CMD_TRIM, nbd.CMD_CACHE, nbd.CMD_WRITE_ZEROES, nbd.CMD_BLOCK_STATUS):
                    error, chunks = client.call(kind, off, length)
                    assert error == 0, f"command {kind} at {off}+{length}: {error}"
                extents = nbd.extents_of(chunks)
                assert 0 < sum(extents) <= length and min(extents) > 0, f"{extents} of {off}+{length}"
    with server.client() as client:
        client.go("disk", extended=True)
        for kind in (nbd.CMD_TRIM, nbd.CMD_CACHE, nbd.CMD_WRITE_ZEROES, nbd.CMD_BLOCK_STATUS):
            error, chunks = client.call(kind, 0, size)
            assert error == 0, f"command {kind} on everything: {error}"
            assert client.call(kind, 1, size)[0] != 0 and client.call(kind, 0, 2**64 - 1)[0] != 0
            assert client.call(kind, 2**64 - 4096, 8192)[0] != 0
        assert sum(nbd.extents_of(chunks)) > 2**32, "no extent is larger than 32 bits"


def write_lengths_at_every_offset(server):
    """A write that is refused is read to its end, or the connection is closed: never misread."""
    size = server.size()
    for off in offsets(size):
        for length in (0, 1, 512, 65536, (1 << 20) + 1):
            with server.client() as client:
                client.go("disk")
                error, _ = client.call(nbd.CMD_WRITE, off, length, payload=b"\x25" * length)
                assert (error != 0) == is_outside(off, length, size) or length == 0
                error, _ = client.call(nbd.CMD_READ, 0, 512)
                assert error == 0, "the request behind a refused write was misread"
    for length in ((32 << 20) + 1, 2**31 - 1, 2**32 - 1):
        with server.client() as client:
            client.go("disk")
            client.send(request(nbd.CMD_WRITE, 0, length) + b"z" * 65536)
            client.half_close()
            assert client.is_closed()


def unknown_commands_and_flags(server):
    with server.client() as client:
        client.go("disk")
        for kind in (8, 9, 255, 0x7FFF, 0xFFFF):
            error, _ = client.call(kind, 0, 512)
            assert error == nbd.EINVAL, f"command {kind}: {error}"
        for flag in (1 << 6, 1 << 12, 1 << 15):
            error, _ = client.call(nbd.CMD_READ, 0, 512, flags=flag)
            assert error == nbd.EINVAL, f"flag {flag:#x}: {error}"
        for kind in (nbd.CMD_READ, nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES, nbd.CMD_BLOCK_STATUS):
            error, _ = client.call(kind, 0, 4096, flags=nbd.FLAG_FUA)
            assert error == 0, f"command {kind} with FUA: {error}"
        for kind in range(8):
            if kind != nbd.CMD_DISC:
                client.call(kind, 0, 0)  # nothing asked: any answer, but an answer


def requests_with_wrong_magic(server):
    for magic in (0, 1, 0xFFFFFFFF, nbd.REQUEST_MAGIC ^ 1, nbd.EXTENDED_REQUEST_MAGIC):
        with server.client() as client:
            client.go("disk")
            client.send(request(nbd.CMD_FLUSH) + request(nbd.CMD_READ, 0, 512, magic=magic) + b"\0" * 64)
            assert client.is_closed()
    for _ in range(50):
        with server.client() as client:
            client.go("disk")
            client.send(server.random.randbytes(server.random.randrange(28, 4096)))
            client.half_close()
            assert client.is_closed()


def everything_before_the_end_is_answered(server):
    """200 requests and a disconnect in one piece: each gets its reply, then the server hangs up."""
    with server.client() as client:
        client.go("disk")
        kinds = {n: server.random.choice((nbd.CMD_READ, nbd.CMD_FLUSH, nbd.CMD_TRIM, nbd.CMD_BLOCK_STATUS))
                 for n in range(200)}
        client.send(b"".join(request(kind, 0, 0 if kind == nbd.CMD_FLUSH else 4096, cookie=n)
                             for n, kind in kinds.items()) + request(nbd.CMD_DISC))
        for _ in range(len(kinds)):
            cookie, error, _ = client.reply()
            assert error == 0 and cookie in kinds, f"cookie {cookie}, error {error}"
            del kinds[cookie]
        assert client.is_closed()


def replies_nobody_reads(server):
    """Reads of 100 times what a socket holds, never read: the server keeps to its limits."""
    server.fill()
    clients = []
    for _ in range(8):
        client = server.client().go("disk")
        client.sock.settimeout(0.2)
        try:
            for n in range(10000):
                client.sock.sendall(request(nbd.CMD_READ, n % 16 << 20, 1 << 20, cookie=n))
        except TimeoutError:
            pass
        clients.append(client)
    server.must_be_well()
    for client in clients:
        client.reset()


def answers_to_options_nobody_reads(server):
    """The handshake's time holds for the server's part, too: it hangs up on who does not listen."""
    clients = [server.client() for _ in range(3)]
    for client in clients:
        client.send(option(99) * 250)
        hangup = select.poll()
        hangup.register(client.sock, 0)
        hangup.poll()
        client.close()


def resets_while_answers_are_sent(server):
    server.fill()
    for _ in range(100):
        client = server.client().go("disk")
        for n in range(16):
            client.send(request(nbd.CMD_READ, n << 20, 1 << 20, cookie=n))
        client.recv(server.random.randrange(1, 100000))
        client.reset()


def half_written_requests_hold_up_nobody(server):
    """Clients stuck in the middle of a request, in every state, while another is served."""
    stuck = []
    session = whole_session()
    for _ in range(30):
        client = server.client(greet=False)
        client.send(session[:server.random.randrange(len(session))])
        stuck.append(client)
    for _ in range(20):
        server.must_be_well()
    for client in stuck:
        client.close()


CASES = (names_of_every_length, names_that_are_no_text, option_lengths_that_lie,
         options_in_any_order, storm_of_options,
         unknown_client_flags, garbage_for_options, closing_at_every_byte,
         half_closing_at_every_byte, recorded_session_closing_at_every_byte,
         replies_closing_at_every_byte, largest_length_at_every_byte, thousand_connects_and_drops,
         lengths_at_every_offset, largest_ranges_of_a_large_export, write_lengths_at_every_offset,
         unknown_commands_and_flags, requests_with_wrong_magic, everything_before_the_end_is_answered,
         replies_nobody_reads, answers_to_options_nobody_reads,
         resets_while_answers_are_sent, half_written_requests_hold_up_nobody,
         *nbd_crowd.CASES)


def run(case, server):
    """The case, and then what it has cost."""
    cpu, (memory, _) = nbd.cpu_of(server.pid), nbd.memory_of(server.pid)
    case(server)
    if server.ended:
        return
    os.kill(server.pid, 0)
    server.must_be_well()
    cpu, memory = nbd.cpu_of(server.pid) - cpu, nbd.memory_of(server.pid)[1] - memory
    print(f"{case.__name__}: {cpu:.2f} s of processor time, {memory >> 20} MiB of memory more at its peak")
    assert cpu <= SANITIZER * getattr(case, "cpu", CPU_ALLOWANCE), "too much processor time"
    assert memory <= SANITIZER * getattr(case, "memory", MEMORY_ALLOWANCE), "too much memory"


def main(cases=CASES):
    name, path, pid, seed = sys.argv[1:]
    server = Server(path, int(pid), int(seed))
    server.must_be_well()
    run({case.__name__: case for case in cases}[name], server)


if __name__ == "__main__":
    main()
