# SPDX-License-Identifier: BSD-3-Clause
"""process.py - processes that are not our children: who they are, whether they live, their end.

A process id can be used again. A process is therefore remembered with the time of its start, and
signalled through a descriptor that means this process and no other.
"""
import os
import select
import signal


def start_time(pid):
    """When the process began, in the kernel's ticks; None when there is none, or it has ended and
    only waits for its parent to hear of it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            facts = file.read().rpartition(")")[2].split()
        return None if facts[0] in "ZX" else int(facts[19])
    except (OSError, ValueError, IndexError):
        return None


def alive(pid, started):
    """Whether process `pid` is the one that began at `started`."""
    return started is not None and start_time(pid) == started


def descriptor_of(pid, started):
    """A descriptor that is readable once the process has ended; None if it has already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if alive(pid, started):
        return descriptor
    os.close(descriptor)
    return None


def stop(pid, started, deadline, number=signal.SIGTERM):
    """Asks the process to end and waits for it. False when it still runs at the deadline."""
    descriptor = descriptor_of(pid, started)
    if descriptor is None:
        return True
    try:
        signal.pidfd_send_signal(descriptor, number)
        return wait(descriptor, deadline)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def wait(descriptor, deadline=None):
    """Waits for the end of the process behind a pidfd. False at the deadline, if there is one."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(deadline.left() * 1000 if deadline else None))


def listening_sockets(pid):
    """The paths of the Unix sockets that the process listens on; none when it may not be seen."""
    try:
        inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="replace") as file:
            rows = [line.split(maxsplit=7) for line in file.read().splitlines()[1:]]
    except OSError:
        return []
    accepting = 0x10000
    return sorted({row[7] for row in rows if len(row) == 8 and int(row[3], 16) & accepting
                   and f"socket:[{row[6]}]" in inodes and row[7].startswith("/")})
