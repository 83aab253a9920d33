# SPDX-License-Identifier: BSD-3-Clause
"""nbd_raw.py - the NBD protocol byte by byte, for clients that do not keep to it.

Names and numbers are those of the protocol's specification
(https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
"""
import os
import socket
import struct

NBDMAGIC = 0x4E42444D41474943
IHAVEOPT = 0x49484156454F5054
REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF
EXTENDED_REQUEST_MAGIC = 0x21E41C71
EXTENDED_REPLY_MAGIC = 0x6E8A278C

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_PEEK_EXPORT, OPT_STARTTLS, OPT_INFO, OPT_GO = range(1, 8)
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT, OPT_EXTENDED_HEADERS = range(8, 12)
REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
REP_ERR = 1 << 31
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_PLATFORM, ERR_TLS_REQD, ERR_UNKNOWN = \
    [REP_ERR | n for n in range(1, 7)]
ERR_TOO_BIG, ERR_EXT_HEADER_REQD = REP_ERR | 9, REP_ERR | 10

CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_WRITE_ZEROES, CMD_BLOCK_STATUS = \
    range(8)
FLAG_FUA, FLAG_NO_HOLE, FLAG_DF, FLAG_REQ_ONE, FLAG_FAST_ZERO, FLAG_PAYLOAD_LEN = \
    [1 << n for n in range(6)]
CHUNK_DONE = 1
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_STATUS_EXT = 0, 1, 2, 5, 6
CHUNK_ERROR, CHUNK_ERROR_OFFSET = 0x8001, 0x8002
EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN = 1, 5, 22, 28, 75, 95, 108


class Closed(Exception):
    """The server has closed the connection."""


def option(number, payload=b"", length=None):
    """An option as bytes; `length` may lie about the payload."""
    return struct.pack(">QII", IHAVEOPT, number, len(payload) if length is None else length) + payload


def go_payload(name, infos=(), name_length=None):
    raw = name.encode() if isinstance(name, str) else name
    length = len(raw) if name_length is None else name_length
    return struct.pack(">I", length) + raw + struct.pack(">H", len(infos)) + \
        b"".join(struct.pack(">H", info) for info in infos)


def meta_payload(name, queries=(), name_length=None, query_count=None, query_length=None):
    raw = name.encode() if isinstance(name, str) else name
    count = len(queries) if query_count is None else query_count
    out = struct.pack(">I", len(raw) if name_length is None else name_length) + raw
    out += struct.pack(">I", count)
    for query in queries:
        length = len(query) if query_length is None else query_length
        out += struct.pack(">I", length) + query.encode()
    return out


def request(kind, off=0, length=0, flags=0, cookie=1, magic=REQUEST_MAGIC):
    return struct.pack(">IHHQQI", magic, flags, kind, cookie, off, length)


def extended_request(kind, off=0, length=0, flags=0, cookie=1):
    return struct.pack(">IHHQQQ", EXTENDED_REQUEST_MAGIC, flags, kind, cookie, off, length)


class Client:
    """A connection, to the path of a socket or (host, port); what it sends is up to the caller."""

    def __init__(self, path, greet=True, flags=3):
        self.path = path
        if isinstance(path, tuple):
            self.sock = socket.create_connection(path)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(path)
        self.size = self.export_flags = None
        self.structured = self.extended = False
        self.ahead = b""  # what was received and not looked at
        self.received = False  # anything
        self.begun = {}  # chunks of replies that have not come whole, by cookie
        if greet:
            self.greeting()
            self.send(struct.pack(">I", flags))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def greeting(self):
        magic, have, flags = struct.unpack(">QQH", self.recv(18))
        assert magic == NBDMAGIC and have == IHAVEOPT, "not an NBD server"
        return flags

    def send(self, data):
        """What a closed connection swallows is no error: the answer tells."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def sip(self, count):
        """Receives up to so much, and keeps it for recv()."""
        self.ahead += self.sock.recv(count)

    def recv(self, count):
        data, self.ahead = self.ahead[:count], self.ahead[count:]
        while len(data) < count:
            try:
                more = self.sock.recv(min(count - len(data), 1 << 20))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed(f"after {len(data)} of {count} bytes")
            self.received = True
            data += more
        return data

    def recv_all(self):
        """Everything up to the end."""
        data = b""
        while True:
            more = self.sock.recv(1 << 20)
            if not more:
                return data
            data += more

    def is_closed(self):
        """Reads to the end: waits until the server has closed."""
        try:
            while self.sock.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes without a word and without reading what is under way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    # ---- options ----

    def option_reply(self):
        """(option, type, payload) of one reply."""
        magic, number, kind, length = struct.unpack(">QIII", self.recv(20))
        assert magic == REPLY_MAGIC, f"reply magic is {magic:#x}"
        assert length <= 1 << 20, f"a reply of {length} bytes"
        return number, kind, self.recv(length)

    def ask(self, number, payload=b"", length=None):
        """Sends an option and returns its replies, the last being an ACK or an error."""
        self.send(option(number, payload, length))
        replies = []
        while True:
            got, kind, data = self.option_reply()
            assert got == number, f"a reply to option {got} and not {number}"
            replies.append((kind, data))
            if kind == REP_ACK or kind & REP_ERR:
                return replies

    def go(self, name="", structured=True, contexts=("base:allocation",), extended=False):
        """The usual negotiation, to the transmission phase."""
        if extended:
            self.extended = self.structured = self.ask(OPT_EXTENDED_HEADERS)[-1][0] == REP_ACK
            assert self.extended, "extended headers were refused"
            self.ask(OPT_SET_META_CONTEXT, meta_payload(name, contexts))
        elif structured:
            self.structured = self.ask(OPT_STRUCTURED_REPLY)[-1][0] == REP_ACK
            if contexts:
                self.ask(OPT_SET_META_CONTEXT, meta_payload(name, contexts))
        replies = self.ask(OPT_GO, go_payload(name))
        assert replies[-1][0] == REP_ACK, f"GO was refused: {replies[-1][0]:#x}"
        for kind, data in replies:
            if kind == REP_INFO and data[:2] == b"\0\0":
                self.size, self.export_flags = struct.unpack(">QH", data[2:12])
        return self

    # ---- transmission ----

    def chunk(self):
        """One simple reply or chunk: (cookie, kind, payload, is it the last one of its reply)."""
        magic, = struct.unpack(">I", self.recv(4))
        if magic == SIMPLE_MAGIC:
            error, cookie = struct.unpack(">IQ", self.recv(12))
            return cookie, CHUNK_ERROR if error else CHUNK_NONE, struct.pack(">I", error), True
        if self.extended:
            assert magic == EXTENDED_REPLY_MAGIC, f"reply magic is {magic:#x}"
            flags, kind, cookie, _, length = struct.unpack(">HHQQQ", self.recv(28))
        else:
            assert magic == CHUNK_MAGIC, f"reply magic is {magic:#x}"
            flags, kind, cookie, length = struct.unpack(">HHQI", self.recv(16))
        assert length <= (32 << 20) + 8, f"a chunk of {length} bytes"
        return cookie, kind, self.recv(length), bool(flags & CHUNK_DONE)

    def reply(self):
        """
        The next whole reply: (cookie, error, chunks), chunks as a list of (type, payload), empty for a
        simple one. Chunks of other replies that come in between are kept for theirs.
        """
        while True:
            cookie, kind, payload, last = self.chunk()
            chunks = self.begun.setdefault(cookie, [])
            chunks.append((kind, payload))
            if last:
                del self.begun[cookie]
                errors = [struct.unpack(">I", data[:4])[0] for what, data in chunks if what & 0x8000]
                return cookie, errors[0] if errors else 0, chunks

    def call(self, kind, off=0, length=0, flags=0, payload=b"", cookie=7):
        """A request and its reply: (error, chunks). A simple reply to a read has its data."""
        ask = extended_request if self.extended else request
        self.send(ask(kind, off, length, flags, cookie) + payload)
        got, error, chunks = self.reply()
        assert got == cookie, f"a reply to {got} and not to {cookie}"
        if kind == CMD_READ and not self.structured and error == 0:
            chunks = [(CHUNK_DATA, struct.pack(">Q", off) + self.recv(length))]
        return error, chunks


def assemble(chunks, off, length):
    """The bytes of a structured read."""
    data = bytearray(length)
    for kind, payload in chunks:
        if kind == CHUNK_DATA:
            at = struct.unpack(">Q", payload[:8])[0] - off
            data[at:at + len(payload) - 8] = payload[8:]
        elif kind == CHUNK_HOLE:
            at, count = struct.unpack(">QI", payload)
            data[at - off:at - off + count] = bytes(count)
    return bytes(data)


def has_no_controls(text):
    """Neither those of ASCII nor those of ISO 8859."""
    return all(char >= " " and not "\x7f" <= char < "\xa0" for char in text)


def memory_of(pid):
    """(resident, peak) bytes of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[key].split()[0]) << 10 for key in ("VmRSS", "VmHWM"))


def cpu_of(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def extents_of(chunks):
    """The lengths of the extents in a reply to block status."""
    lengths = []
    for kind, payload in chunks:
        if kind == CHUNK_STATUS:
            lengths += [length for length, _ in struct.iter_unpack(">II", payload[4:])]
        elif kind == CHUNK_STATUS_EXT:
            lengths += [length for length, _ in struct.iter_unpack(">QQ", payload[8:])]
    return lengths


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
