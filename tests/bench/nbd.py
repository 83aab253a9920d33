#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures NBD servers side by side: Briq's own beside nbdkit and qemu-nbd.

Every server serves the same real data, files of this machine, on a Unix socket. Rounds alternate
between the servers; medians count, and ratios between servers of one run. For each round: requests
a second, the server's CPU time for a request, and (in a run of its own, with perf) its system calls
for a request. Loads: qemu-img bench (QEMU's own client), fio's nbd engine, and nbd_load, which
writes real blocks. The machine should have nothing else to do.
"""
import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BRIQ_BUILD", os.path.join(HERE, "..", "..", "build"))
LOAD = os.path.join(BUILD, "tests", "bench", "nbd_load")
TICK = os.sysconf("SC_CLK_TCK")
BLOCK = 4096


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


# ---- data ----------------------------------------------------------------------------------------


def make_image(path, size):
    """Files of this machine one behind the other, without blocks of zeros."""
    zeros = bytes(BLOCK)
    with open(path, "wb") as image:
        for top, dirs, names in os.walk("/usr"):
            dirs.sort()
            for name in sorted(names):
                left = size - image.tell()
                if left == 0:
                    return
                append_file(image, os.path.join(top, name), zeros, left)
    sys.exit(f"bench: /usr has too little data for {size} bytes")


def append_file(image, path, zeros, left):
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > 32 << 20:
        return
    try:
        with open(path, "rb") as file:
            while left > 0 and len(block := file.read(BLOCK)) == BLOCK:
                if block != zeros:
                    image.write(block)
                    left -= BLOCK
    except OSError:
        pass


# ---- servers -------------------------------------------------------------------------------------


class Server:
    """A server that has the image; `command` knows {socket}, {size}, {image}, {keys} and {dir}."""

    def __init__(self, name, command, setup=None, holds_image=False, tls=False):
        self.name, self.command, self.setup, self.holds_image = name, command, setup, holds_image
        self.tls = tls
        self.process = None

    def start(self, work, image, size):
        names = {"socket": os.path.join(work, self.name + ".sock"), "size": size, "dir": work,
                 "image": os.path.join(work, self.name + ".raw"),
                 "keys": os.path.join(work, "keys.psk")}
        if self.holds_image:
            shutil.copyfile(image, names["image"])
        if self.setup:
            run(*[word.format(**names) for word in self.setup])
        self.process = subprocess.Popen([word.format(**names) for word in self.command])
        export = "bench" if self.command[0] == "briq" else ""
        uri = "nbds+unix://bench@/{export}?socket={socket}&tls-psk-file={keys}" if self.tls \
            else "nbd+unix:///{export}?socket={socket}"
        self.uri = uri.format(export=export, **names)
        self.wait(names["socket"])
        if not self.holds_image:
            run("nbdcopy", "--flush", image, self.uri)

    def wait(self, socket):
        while not os.path.exists(socket):
            if self.process.poll() is not None:
                sys.exit(f"bench: {self.name} did not start")
            time.sleep(0.01)

    def cpu_seconds(self):
        """Of all its threads, those that have ended included."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()


def all_servers():
    briq = ["briq", "serve", "--nbd", "unix:{socket}"]
    volume = ["briq", "create", "{dir}/{name}.briq", "{size}"]
    nbdkit = ["nbdkit", "-f", "-U", "{socket}"]

    def file_volume(name):
        return [word.replace("{name}", name) for word in volume]

    return [
        Server("briq", briq + ["bench=mem:{size}"]),
        Server("briq-file", briq + ["bench={dir}/briq-file.briq"], file_volume("briq-file")),
        Server("briq-threads", briq + ["--engine", "threads", "bench=mem:{size}"]),
        Server("briq-plugin", nbdkit + ["briq", "mem:{size}"]),
        Server("nbdkit-memory", nbdkit + ["memory", "{size}"]),
        Server("nbdkit-zstd", nbdkit + ["memory", "{size}", "allocator=zstd"]),
        Server("qemu-nbd", ["qemu-nbd", "-f", "raw", "-t", "-e", "16", "-k", "{socket}", "{image}"],
               holds_image=True),
        Server("briq-tls", briq + ["--tls-psk", "{keys}", "bench=mem:{size}"], tls=True),
        Server("nbdkit-tls", nbdkit + ["--tls=require", "--tls-psk={keys}", "memory", "{size}"],
               tls=True),
    ]


# ---- loads ---------------------------------------------------------------------------------------


class Load:
    """`run` puts `count` requests on a server and returns (seconds, extra figures)."""

    def __init__(self, name, count, skip=(), tls=False):
        self.name, self.count, self.skip, self.tls = name, count, skip, tls


class QemuRead(Load):
    """QEMU's client steps through the disk by a stride that touches it all over."""

    def run(self, server, bench, count):
        del bench
        began = time.monotonic()
        run("qemu-img", "bench", "-f", "raw", "-t", "none", "-c", str(count), "-d", "16", "-s",
            str(BLOCK), "-S", str(BLOCK * 7919), server.uri)
        return time.monotonic() - began, {}


class FioRead(Load):
    def run(self, server, bench, count):
        out = run("fio", "--name=load", "--ioengine=nbd", "--uri=" + server.uri, "--rw=randread",
                  "--bs=4k", "--iodepth=64", f"--size={bench.size}", "--norandommap",
                  f"--io_size={count * BLOCK}", f"--randseed={bench.seed}",
                  "--output-format=json")
        job = json.loads(out[out.index("{"):])["jobs"][0]["read"]
        return job["runtime"] / 1000, {"p99_us": job["clat_ns"]["percentile"]["99.000000"] / 1000}


class LibnbdLoad(Load):
    def __init__(self, name, count, kind, depth, connections, size=BLOCK, skip=(), tls=False):
        super().__init__(name, count, skip, tls)
        self.kind, self.depth, self.connections, self.bytes = kind, depth, connections, size

    def run(self, server, bench, count):
        out = json.loads(run(LOAD, server.uri, self.kind, bench.image, str(count), str(self.depth),
                             str(self.connections), str(bench.seed), str(self.bytes)))
        return out["seconds"], {"p50_us": out["p50_us"], "p99_us": out["p99_us"]}


class HoleRead(LibnbdLoad):
    """The same on an export that was cleared first."""

    def run(self, server, bench, count):
        run("/usr/bin/python3", "-c",
            "import nbd,sys; h=nbd.NBD(); h.connect_uri(sys.argv[1]); s=h.get_size()\n"
            "for o in range(0, s, 1 << 30): h.zero(min(1 << 30, s - o), o)\n"
            "h.shutdown()", server.uri)
        return super().run(server, bench, count)


def all_loads(scale):
    slow = ("nbdkit-zstd",)
    return [
        QemuRead("qemu-img read, depth 16", 300000 * scale),
        LibnbdLoad("read, depth 16", 300000 * scale, "read", 16, 1),
        FioRead("fio read, depth 64", 300000 * scale),
        LibnbdLoad("read, 8 connections", 400000 * scale, "read", 16, 8),
        LibnbdLoad("write, depth 16", 150000 * scale, "write", 16, 1),
        LibnbdLoad("write, depth 64", 150000 * scale, "write", 64, 1),
        LibnbdLoad("write, 8 connections", 200000 * scale, "write", 16, 8),
        LibnbdLoad("read 256K data", 8000 * scale, "read", 16, 1, 256 << 10, slow),
        HoleRead("read 256K holes", 32000 * scale, "read", 16, 1, 256 << 10, slow),
        # Nothing to decompress: what the engines themselves cost.
        HoleRead("read 4K holes, 8 connections", 800000 * scale, "read", 16, 8, skip=slow),
        LibnbdLoad("TLS read, depth 16", 150000 * scale, "read", 16, 1, tls=True),
        LibnbdLoad("TLS read 256K", 4000 * scale, "read", 16, 1, 256 << 10, tls=True),
        LibnbdLoad("TLS write, depth 16", 100000 * scale, "write", 16, 1, tls=True),
    ]


# ---- measuring -----------------------------------------------------------------------------------


class Bench:
    def __init__(self, options, work):
        self.size, self.rounds, self.work = options.size << 20, options.rounds, work
        self.seed = options.seed
        self.image = os.path.join(work, "image.raw")
        self.results = {}

    def count_for(self, server, load):
        return load.count // 50 if server.name == "nbdkit-zstd" else load.count

    def round(self, server, load):
        count = self.count_for(server, load)
        before = server.cpu_seconds()
        seconds, extra = load.run(server, self, count)
        cpu = server.cpu_seconds() - before
        return {"rate": count / seconds, "cpu_us": cpu / count * 1e6, **extra}

    def calls(self, server, load):
        """System calls for a request, counted by the kernel while perf looks on."""
        if shutil.which("perf") is None:
            return None
        out = os.path.join(self.work, "perf")
        perf = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p",
                                 str(server.process.pid), "-o", out],
                                stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.5)  # perf does not say when it has begun; the load has no such requests
        count = self.count_for(server, load) // 3
        load.run(server, self, count)
        perf.send_signal(signal.SIGINT)
        perf.wait()
        with open(out, encoding="ascii") as file:
            lines = [line for line in file if "sys_enter" in line]
        value = lines[0].split(",")[0] if lines else ""
        return int(value) / count if value.isdigit() else None

    def measure(self, servers, load):
        servers = [s for s in servers if s.name not in load.skip and s.tls == load.tls]
        if not servers:
            return
        say(load.name)
        rounds = {s.name: [] for s in servers}
        for number in range(self.rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                rounds[server.name].append(self.round(server, load))
        row = {}
        for server in servers:
            mine = rounds[server.name]
            row[server.name] = {key: statistics.median(r[key] for r in mine) for key in mine[0]}
            row[server.name]["calls"] = self.calls(server, load)
        self.results[load.name] = row


def print_row(name, row):
    print(f"\n{name}")
    for server, r in row.items():
        calls = "" if r["calls"] is None else f"  {r['calls']:6.2f} calls"
        tail = f"  p99 {r['p99_us']:8.0f} us" if "p99_us" in r else ""
        print(f"  {server:14} {r['rate']:10.0f}/s  {r['cpu_us']:7.2f} us CPU{calls}{tail}")


# What is wanted: load, figure, server, at least so many times (at most, when negative) the other's.
BARS = [
    ("qemu-img read, depth 16", "rate", "briq", 1.3, "nbdkit-memory"),
    ("qemu-img read, depth 16", "rate", "briq", 1.8, "qemu-nbd"),
    ("fio read, depth 64", "rate", "briq", 1.5, "nbdkit-memory"),
    ("write, depth 64", "rate", "briq", 30.0, "nbdkit-zstd"),
    ("write, depth 64", "rate", "briq", 1.5, "qemu-nbd"),
    ("write, depth 64", "rate", "briq", 1.0, "nbdkit-memory"),
    ("read, depth 16", "cpu_us", "briq", -0.5, "nbdkit-memory"),
    ("read, 8 connections", "cpu_us", "briq", -1 / 1.2, "briq-threads"),
    ("write, 8 connections", "cpu_us", "briq", -1 / 1.2, "briq-threads"),
    ("read 4K holes, 8 connections", "cpu_us", "briq", -1 / 1.2, "briq-threads"),
]


def print_bars(results):
    print("\nratios")
    for load, key, mine, wanted, other in BARS:
        row = results.get(load, {})
        if mine not in row or other not in row:
            continue
        ratio = row[mine][key] / max(row[other][key], 1e-9)
        good = ratio >= wanted if wanted > 0 else ratio <= -wanted
        sign = ">=" if wanted > 0 else "<="
        print(f"  {load:26} {key:7} {mine} / {other:14} {ratio:7.2f}  ({sign} {abs(wanted):.2f}: "
              f"{'met' if good else 'MISSED'})")
    for load in ("qemu-img read, depth 16", "read, depth 16"):
        calls = results.get(load, {}).get("briq", {}).get("calls")
        if calls is not None:
            print(f"  {load:26} calls a request of briq         {calls:7.2f}  (<= 0.50: "
                  f"{'met' if calls <= 0.5 else 'MISSED'})")
    data, holes = results.get("read 256K data"), results.get("read 256K holes")
    if data and holes and "briq" in data:
        ratio = holes["briq"]["rate"] / data["briq"]["rate"]
        print(f"  256K reads of holes / data of briq                {ratio:7.2f}  (>= 4.00: "
              f"{'met' if ratio >= 4 else 'MISSED'})")


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="MiB of data (512)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each load (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="times the requests of a round")
    parser.add_argument("--servers", default="", help="only these, with commas between")
    parser.add_argument("--loads", default="", help="only loads whose name contains this")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--json", help="keep all figures in this file")
    return parser.parse_args(arguments)


def main():
    options = options_of(sys.argv[1:])
    print(f"seed {options.seed}", flush=True)
    servers = [s for s in all_servers()
               if not options.servers or s.name in options.servers.split(",")]
    loads = [l for l in all_loads(options.scale) if options.loads in l.name]
    for load in loads:
        load.count = int(load.count)
    work = tempfile.mkdtemp(prefix="briq-bench-", dir="/dev/shm")
    try:
        bench = Bench(options, work)
        make_image(bench.image, bench.size)
        with open(os.path.join(work, "keys.psk"), "w", encoding="ascii") as keys:
            keys.write("bench:" + random.randbytes(32).hex() + "\n")
        for server in servers:
            say("filling " + server.name)
            server.start(work, bench.image, bench.size)
        for load in loads:
            bench.measure(servers, load)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(work)
    for name, row in bench.results.items():
        print_row(name, row)
    print_bars(bench.results)
    if options.json:
        with open(options.json, "w", encoding="ascii") as file:
            json.dump({"seed": options.seed, "loads": bench.results}, file, indent=2)


if __name__ == "__main__":
    main()
