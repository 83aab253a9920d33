# SPDX-License-Identifier: BSD-3-Clause
"""crash_io.py - writes until a server is killed, and judges what is there afterwards.

  crash_io.py write  URI JOURNAL --kill PID --connections N --operations N --seed N [--flush-every N]
  crash_io.py verify URI JOURNAL --keep acknowledged|flushed
  crash_io.py forget URI JOURNAL --age N [--rest]

`write` gives each connection a region of the volume of its own and keeps one operation in flight on
each: the order of the operations of a connection is then known, and between connections it is known
wherever one was acknowledged before the other was sent. After a number of operations drawn from the
seed the server is killed with SIGKILL while the others are under way. What was sent, acknowledged and
flushed is written to JOURNAL, in the order of one clock that counts those events.

An operation changes 1 to 8 sectors inside one 4 KiB block, or trims or zeroes one block: that is what
a volume changes as a whole or not at all. Every sector written carries the number of its operation.

`verify` reads the regions back. From the sectors it works out which numbers of operations of a
connection explain what is there; there must be one. Then:
  acknowledged   every operation that was acknowledged is there (the process died)
  flushed        every operation acknowledged before a flush was sent that itself was acknowledged is
                 there, and none is there while one that was acknowledged before it was sent is not:
                 the state is a prefix (the power failed)

`forget` is for testing `verify`: it makes the volume look as if the first connection's acknowledged
write that N operations followed had been lost, with --rest also those that followed.
"""
import argparse
import json
import os
import random
import signal
import struct
import sys
import nbd

SECTOR = 512
BLOCK = 4096
SECTORS = BLOCK // SECTOR
BLOCKS_PER_CONNECTION = 96 # few, so that most are overwritten and read-modify-write is common
REGION = 8 << 20


def stamp(connection, number, sector):
    """The content of a sector: its writer, then bytes of which some compress."""
    noise = random.Random(f"{connection}.{number}.{sector}").randbytes(96)
    head = struct.pack("<4sIIQ", b"BRIQ", connection, number, sector)
    return (head + noise + head * 20)[:SECTOR]


def block_offset(connection, block):
    """Blocks of a connection are spread over its region: several map pages, odd distances."""
    return connection * REGION + (block * 21 % (REGION // BLOCK)) * BLOCK


class Operation:
    """One change of one block: which sectors, and when it was sent and acknowledged."""

    def __init__(self, kind, block, first, count, fua):
        self.kind, self.block, self.first, self.count, self.fua = kind, block, first, count, fua
        self.sent = self.acknowledged = None


def draw_operation(rng):
    kind = rng.choices(("write", "trim", "zero"), (90, 5, 5))[0]
    block = rng.randrange(BLOCKS_PER_CONNECTION)
    if kind != "write":
        return Operation(kind, block, 0, SECTORS, False)
    count = rng.choice((1, 2, 3, 8, 8, 8))
    first = rng.randrange(SECTORS - count + 1)
    return Operation(kind, block, first, count, rng.random() < 0.02)


class Connection:
    """A connection with at most one operation or flush in flight."""

    def __init__(self, index, uri, rng):
        self.index, self.rng = index, rng
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.operations = []
        self.cookie = self.current = None

    def submit(self, operation, clock):
        handle, offset = self.handle, block_offset(self.index, operation.block)
        number = len(self.operations) + 1
        self.operations.append(operation)
        self.current, operation.sent = operation, clock
        flags = nbd.CMD_FLAG_FUA if operation.fua else 0
        if operation.kind == "trim":
            self.cookie = handle.aio_trim(BLOCK, offset)
        elif operation.kind == "zero":
            self.cookie = handle.aio_zero(BLOCK, offset, flags=nbd.CMD_FLAG_NO_HOLE)
        else:
            data = b"".join(stamp(self.index, number, operation.first + i)
                            for i in range(operation.count))
            self.cookie = handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)),
                                            offset + operation.first * SECTOR, flags=flags)

    def submit_flush(self, flush):
        self.current, self.cookie = flush, self.handle.aio_flush()


class Writer:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.connections = [Connection(i, options.uri, random.Random(f"{options.seed}.{i}"))
                            for i in range(options.connections)]
        self.flushes = []
        self.clock = 0
        self.kill_at = self.rng.randrange(options.operations // 3, options.operations)

    def tick(self):
        self.clock += 1
        return self.clock

    def submit_next(self, connection):
        if self.rng.randrange(self.options.flush_every) == 0:
            flush = Operation("flush", 0, 0, 0, False)
            flush.sent = self.tick()
            self.flushes.append(flush)
            connection.submit_flush(flush)
        else:
            connection.submit(draw_operation(connection.rng), self.tick())

    def reap(self, connection):
        """True when the operation in flight was acknowledged; an error here fails the test."""
        if connection.cookie is None or not connection.handle.aio_command_completed(connection.cookie):
            return False
        connection.current.acknowledged = self.tick()
        connection.cookie = connection.current = None
        return True

    def run(self):
        done = 0
        while done < self.kill_at:
            for connection in self.connections:
                if connection.cookie is None:
                    self.submit_next(connection)
            self.wait_one()
            done += sum(self.reap(connection) for connection in self.connections)
        for connection in self.connections:
            if connection.cookie is None:
                self.submit_next(connection)
        os.kill(self.options.kill, signal.SIGKILL)
        self.drain()
        print(f"killed after {done} operations, {len(self.flushes)} of them flushes")

    def wait_one(self):
        """Waits until some connection has moved on; one alone needs no choice."""
        if len(self.connections) == 1:
            self.connections[0].handle.poll(-1)
            return
        connection = self.rng.choice(self.connections)
        connection.handle.poll(-1)
        for other in self.connections:
            if other is not connection:
                other.handle.poll(0)

    def drain(self):
        """Takes what the server had still answered when it died."""
        for connection in self.connections:
            try:
                while connection.cookie is not None and not self.reap(connection):
                    connection.handle.poll(-1)
            except nbd.Error:
                pass # the connection is dead, the operation unanswered

    def journal(self):
        return {
            "seed": self.options.seed,
            "flushes": [[f.sent, f.acknowledged] for f in self.flushes],
            "connections": [[vars(op) for op in c.operations] for c in self.connections],
        }


def possible_prefixes(handle, index, operations):
    """The N for which the first N operations explain what the region of a connection holds."""
    total = len(operations)
    explained = [0] * (total + 2) # differences: how many sectors N explains
    sectors = {}
    for number, operation in enumerate(operations, 1):
        for i in range(operation["first"], operation["first"] + operation["count"]):
            written = number if operation["kind"] == "write" else 0
            sectors.setdefault((operation["block"], i), [(0, 0)]).append((number, written))
    images = {block: handle.pread(BLOCK, block_offset(index, block)) for block, _ in sectors}
    for (block, i), history in sectors.items():
        found = images[block][i * SECTOR:(i + 1) * SECTOR]
        match = False
        for at, (number, written) in enumerate(history):
            want = stamp(index, written, i) if written else bytes(SECTOR)
            if found == want:
                end = history[at + 1][0] if at + 1 < len(history) else total + 1
                explained[number] += 1
                explained[end] -= 1
                match = True
        if not match:
            sys.exit(f"connection {index}, block {block}, sector {i}: holds what nobody wrote there: "
                     f"{found[:32].hex()}")
    prefixes, count = [], 0
    for number in range(total + 1):
        count += explained[number]
        if count == len(sectors):
            prefixes.append(number)
    return prefixes


def check_floor(index, operations, largest, needed, why):
    """needed(operation) must hold only for operations that are there."""
    for number, operation in enumerate(operations, 1):
        if number > largest and needed(operation):
            sys.exit(f"connection {index}: operation {number} ({operation['kind']}) is lost, and "
                     f"{why}; there are {largest} of {len(operations)}")


def verify(options):
    with open(options.journal, encoding="utf-8") as file:
        journal = json.load(file)
    handle = nbd.NBD()
    handle.connect_uri(options.uri)

    # Operations that changed nothing visible (a trim of zeros) may leave several explanations: up to
    # the smallest everything is surely there, behind the largest surely nothing.
    smallest, largest = [], []
    for index, operations in enumerate(journal["connections"]):
        prefixes = possible_prefixes(handle, index, operations)
        if not prefixes:
            sys.exit(f"connection {index}: no number of its {len(operations)} operations gives what "
                     "is there: one is missing in the middle, or half there")
        smallest.append(prefixes[0])
        largest.append(prefixes[-1])

    if options.keep == "acknowledged":
        check_present(journal, largest, lambda op: True, "it was acknowledged")
    else:
        check_power_cut(journal, smallest, largest)
    sent = [len(operations) for operations in journal["connections"]]
    print(f"of {sent} operations sent, {largest} are there")


def check_present(journal, largest, needed, why):
    """Every acknowledged operation that is needed must be among the first `largest` ones."""
    for index, (operations, present) in enumerate(zip(journal["connections"], largest)):
        for number, operation in enumerate(operations[present:], present + 1):
            if operation["acknowledged"] is not None and needed(operation):
                sys.exit(f"connection {index}: operation {number} ({operation['kind']}) is lost, and "
                         f"{why}; {present} of {len(operations)} are there")


def check_power_cut(journal, smallest, largest):
    """A flush covers what was acknowledged before it was sent; so does an operation with FUA, and
    itself. And the state is a prefix: what was sent later is not there without what was acknowledged
    before."""
    operations = [op for ops in journal["connections"] for op in ops]
    flushes = [sent for sent, acknowledged in journal["flushes"] if acknowledged is not None]
    flushes += [op["sent"] for op in operations if op["fua"] and op["acknowledged"] is not None]
    flushed = max(flushes, default=0)
    check_present(journal, largest, lambda op: op["fua"] or op["acknowledged"] < flushed,
                  "a flush covered it")
    newest = max((op["sent"] for ops, present in zip(journal["connections"], smallest)
                  for op in ops[:present]), default=0)
    check_present(journal, largest, lambda op: op["acknowledged"] < newest,
                  "one that was sent after it was acknowledged is there")


def forget(options):
    with open(options.journal, encoding="utf-8") as file:
        operations = json.load(file)["connections"][0]
    handle = nbd.NBD()
    handle.connect_uri(options.uri)

    until = possible_prefixes(handle, 0, operations)[-1]
    there = list(enumerate(operations[:until], 1))
    # Only a sector that nobody wrote later shows the loss.
    owner = {(op["block"], op["first"] + i): number
             for number, op in there for i in range(op["count"])}
    lost = max(number for number in owner.values() if number <= until - options.age
               and operations[number - 1]["kind"] == "write"
               and operations[number - 1]["acknowledged"] is not None)
    sectors = {}
    for number, op in there:
        if number == lost or (options.rest and number > lost):
            continue
        for i in range(op["first"], op["first"] + op["count"]):
            sectors[op["block"], i] = number if op["kind"] == "write" else 0
    for block, i in owner:
        written = sectors.get((block, i), 0)
        data = stamp(0, written, i) if written else bytes(SECTOR)
        handle.pwrite(data, block_offset(0, block) + i * SECTOR)
    print(f"forgot operation {lost} of {until}" + (" and what followed" if options.rest else ""))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("write", "verify", "forget"):
        sub = verbs.add_parser(verb)
        sub.add_argument("uri")
        sub.add_argument("journal")
        if verb == "write":
            sub.add_argument("--kill", type=int, required=True)
            sub.add_argument("--connections", type=int, default=1)
            sub.add_argument("--operations", type=int, default=3000)
            sub.add_argument("--flush-every", type=int, default=40)
            sub.add_argument("--seed", type=int, required=True)
        elif verb == "forget":
            sub.add_argument("--age", type=int, required=True)
            sub.add_argument("--rest", action="store_true")
        else:
            sub.add_argument("--keep", choices=("acknowledged", "flushed"), required=True)
    return parser.parse_args()


def main():
    options = parse_arguments()
    if options.verb != "write":
        (verify if options.verb == "verify" else forget)(options)
        return
    writer = Writer(options)
    writer.run()
    with open(options.journal, "w", encoding="utf-8") as file:
        json.dump(writer.journal(), file)


if __name__ == "__main__":
    main()
