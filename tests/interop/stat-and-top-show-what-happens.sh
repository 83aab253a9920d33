#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `briq stat` tells people, scripts and those who know zram the same; `briq top` shows it on a
# terminal of 80 columns and 24 lines, and gives that back as it was, whatever ends it.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend serve
requires_module nbd

briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq" spare=mem:64M
nbdsh -u "$(uri_of disk)" -c 'import os
for i in range(20): h.pwrite(os.urandom(4096), i * 4096)
for i in range(20, 30): h.pwrite(b"7" * 4096, i * 4096)
h.zero(4096 * 5, 40 * 4096)
for i in range(50): h.pread(4096, 0)
h.flush()
h.trim(4096 * 3, 0)
h.set_strict_mode(0)
for off in 1 << 40, 1 << 41:
    try: h.pread(512, off)
    except nbd.Error: pass
try: h.pwrite(b"x", 1 << 40)
except nbd.Error: pass'

# ---- stat ----
said=$(briq stat disk)
expect_match "briq stat" "$said" "*disk  $tmp/disk.briq, 64 MiB, *"
grep -Eq '^  read +52 +200 KiB +2 ' <<<"$said" || fail "reads are not told: $said"
grep -Eq '^  write +31 +120 KiB +1 ' <<<"$said" || fail "writes are not told: $said"
grep -q spare <<<"$said" && fail "the other export is told too: $said"
expect_equal "the same by its path" "$(briq stat "$tmp/disk.briq" | grep '^  write')" "$(grep '^  write' <<<"$said")"
expect_match "all of them" "$(briq stat)" "*disk  *spare  mem:64M*"
expect_failure 2 briq stat nothing
expect_match "a refusal" "$said" "*no daemon serves 'nothing'*"
expect_failure 2 briq stat --io-stat
expect_match "a refusal" "$said" "*there are 2: name it"
expect_failure 2 briq stat --count 3
expect_failure 2 briq stat --interval 0
expect_failure 2 briq stat --json --mm-stat disk

# failed_reads failed_writes invalid_io notify_free
expect_equal "io_stat" "$(briq stat --io-stat disk | xargs)" "2 1 3 3"
# orig: 17 blocks left of 20, 10 of one pattern, 5 of zeros, which a server may trim instead
read -r orig compressed used limit most same compacted huge since < <(briq stat --mm-stat disk)
# shellcheck disable=SC2154 # read sets them
{
    zeros=$((same - 10))
    [ "$zeros" = 0 ] || [ "$zeros" = 5 ] || fail "same_pages is $same"
    expect_equal "orig_data_size" "$orig" $(((17 + 10 + zeros) * 4096))
    ((17 * 4096 <= compressed && compressed < 18 * 4096)) || fail "compr_data_size is $compressed"
    ((compressed < used && used < limit && used <= most)) || fail "mm_stat: $used $limit $most"
    expect_equal "pages_compacted, huge_pages_since" "$compacted $since" "0 20"
    ((17 <= huge && huge <= 20)) || fail "huge_pages is $huge"
}

# What happens in an interval, and nothing of what was before.
cat >"$tmp/load.py" <<'PY'
import nbd
import subprocess
import json
import sys

h = nbd.NBD()
h.connect_uri(sys.argv[1])
stat = subprocess.Popen(["briq", "stat", "disk", "--json", "--interval", "0.3", "-n", "3"], stdout=subprocess.PIPE)
sent = 0
while stat.poll() is None:
    for _ in range(10):
        h.pread(4096, 0)
    sent += 10
lines = [json.loads(line) for line in stat.stdout]
assert len(lines) == 3, len(lines)
counted = 0
for line in lines:
    export, = line["daemons"][0]["exports"]
    assert export["counters"]["write"]["ops"] == 0, "of what was before"
    assert list(export["latency"]) == ["read"], export["latency"]
    read = export["latency"]["read"]
    assert read["counters"]["count"] > 0 and 0 < read["p50_ns"] <= read["max_ns"]
    counted += export["counters"]["read"]["ops"]
    assert 0 < line["milliseconds"] < 60000
assert 0 < counted <= sent, (counted, sent)
PY
"$PYTHON" "$tmp/load.py" "$(uri_of disk)"
expect_equal "lines of two intervals" "$(briq stat --interval 0.1 -n 2 | wc -l)" 5

# ---- top, for scripts ----
screens=$(briq top --batch -n 2 -d 0.1)
expect_equal "screens" "$(grep -c '^briq top: 1 daemon, 2 exports, 0 clients' <<<"$screens")" 2
expect_match "top" "$screens" "*EXPORT *disk *spare *CLIENT*"
grep -q $'\033' <<<"$screens" && fail "top --batch says what only a terminal understands"
expect_failure 2 briq top </dev/null
expect_match "a refusal" "$said" "*this is no terminal: use --batch"
stop_server

# ---- top, on a terminal ----
exports=()
for i in $(seq 40); do exports+=("a-rather-long-name-of-an-export-$i=mem:64M"); done
serve_volume $'e\033[31mvil=mem:64M' "${exports[@]}"
cat >"$tmp/top.py" <<'PY'
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

# Somebody who works, so that there is something to see, until the server ends.
worker = subprocess.Popen([sys.executable, "-c", """
import nbd, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
try:
    while True:
        h.pread(4096, 0)
except nbd.Error:
    pass
""", sys.argv[1]])

def size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

class Top:
    def __init__(self, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        size(self.ours, rows, columns)
        self.before = termios.tcgetattr(self.ours)
        self.seen = b""
        # It gets the terminal as its own, so that what a key stands for reaches it.
        self.top = subprocess.Popen(["briq", "top", "-d", "0.2"], stdin=theirs, stdout=theirs,
                                    stderr=theirs, start_new_session=True,
                                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)

    def until(self, pattern):
        """Reads what it draws, up to that."""
        while not (found := re.search(pattern, self.seen, re.S)):
            try:
                self.seen += os.read(self.ours, 65536)
            except OSError: # it has ended
                raise AssertionError(f"{pattern} never came: {self.seen}") from None
        self.seen = self.seen[found.end():]
        return found

    def frame(self):
        """A whole screen, as lines without what marks them."""
        found = self.until(rb"\x1b\[H(.*?)\x1b\[J")
        text = re.sub(rb"\x1b\[(7m|0m|K)", b"", found[1]).decode()
        return text.split("\r\n")

    def ended(self):
        """It must have ended well, and have given back the terminal as it was."""
        self.until(rb"\x1b\[\?25h\x1b\[\?1049l")
        assert self.top.wait() == 0, self.top.returncode
        assert termios.tcgetattr(self.ours) == self.before, "the terminal is not as it was"
        os.close(self.ours)

def shows_numbers():
    top = Top()
    top.until(rb"^\x1b\[\?1049h\x1b\[\?25l")
    assert termios.tcgetattr(top.ours) != top.before, "keys would need Enter"
    while ", 1 client" not in top.frame()[0]:
        pass
    for _ in range(3):
        lines = top.frame()
        assert len(lines) == 24, f"{len(lines)} lines"
        assert all(len(line) <= 80 for line in lines), lines
        assert lines[0].startswith("briq top: 1 daemon, 41 exports, 1 client"), lines[0]
    # Whoever works stands first, and what its name would do to the terminal is not done.
    first = lines[4].split()
    assert first[0] == "e?[31mvil" and float(first[1]) > 0, lines[4]
    client = lines[-1].split()
    assert lines[-1].startswith(f"pid {worker.pid}, uid {os.getuid()}"), lines[-1]
    assert "e?[31mvil" in client, client
    return top

top = shows_numbers()
os.write(top.ours, b"n") # by name
while not top.frame()[4].startswith("a-rather-lon"):
    pass
size(top.ours, 10, 40)
while len(lines := top.frame()) > 10:
    pass
assert all(len(line) <= 40 for line in lines), lines
os.write(top.ours, b"q")
top.ended()
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
    top = Top()
    top.frame()
    top.top.send_signal(number)
    top.ended()
top = Top()
top.frame()
os.write(top.ours, b"\x03") # Ctrl-C
top.ended()
# The daemon goes: there is nothing to watch, and the terminal tells so when it is as it was.
top = Top()
top.frame()
os.kill(int(sys.argv[2]), signal.SIGTERM)
top.until(rb"\x1b\[\?25h\x1b\[\?1049l")
assert top.top.wait() == 2
assert termios.tcgetattr(top.ours) == top.before
top.until(rb"briq top: there is no daemon")
worker.wait()
PY
"$PYTHON" "$tmp/top.py" "$(uri_of e%1B%5B31mvil)" "$server_pid"
