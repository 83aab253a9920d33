# SPDX-License-Identifier: BSD-3-Clause
"""context.py - which machine a verb is about, and the ways it answers: text or JSON."""
import contextlib
import json

from . import rundir
from .deadline import Deadline
from .errors import UsageError
from .machine import Machine
from .qmp import Monitor


def run_root(args):
    return args.run_dir or rundir.default_root()


def vm_dir(args):
    """The directory of the machine that --qmp or --vm names, or of the only one that runs."""
    root = run_root(args)
    if args.qmp:
        return rundir.VmDir.for_monitor(root, args.qmp)
    if args.vm:
        return rundir.VmDir(root, args.vm)
    names = [name for name in rundir.running(root) if not name.startswith("qmp-")]
    if len(names) == 1:
        return rundir.VmDir(root, names[0])
    if not names:
        raise UsageError(f"no machine runs in {root}: say which one with --vm or --qmp")
    raise UsageError(f"{len(names)} machines run ({', '.join(names)}): say which one with --vm")


@contextlib.contextmanager
def connected(args):
    """Yields (Machine, VmDir, Deadline)."""
    deadline = Deadline(args.timeout)
    where = vm_dir(args)
    with Monitor(args.qmp or where.file("qmp.sock"), deadline) as monitor:
        yield Machine(monitor), where, deadline


def answer(args, text, data):
    """Prints `text`, or with --json `data`."""
    print(json.dumps(data, indent=2) if args.json else text)

