# SPDX-License-Identifier: BSD-3-Clause
"""verbs.py - the verbs of briq-vm: one table that the parser, --help and the man page read."""
import dataclasses
import typing

from . import cmd_attach, cmd_detach, cmd_doctor, cmd_launch, cmd_list, cmd_resize, cmd_revive
from .disk import RECONNECT_SECONDS
from .servers import AUTO, KINDS

FLAG, TEXT, NUMBER, MANY = "flag", "text", "number", "many"

ABOUT = (
    "briq-vm runs QEMU guests on Briq volumes: it starts a machine, gives it disks and takes them "
    "away while it runs, makes them larger, and says what could be faster.",
    "A VOLUME is a file that briq create or briq import made, mem:SIZE for one in memory, "
    "nbd:unix:SOCKET:exportname=NAME or nbd+unix:///NAME?socket=SOCKET for an export that is "
    "served already, or /dev/ublkbN or device:PATH for a block device of this host. A volume that "
    "nobody serves gets a server of its own, which ends with the disk or the machine. One that is "
    "served already is used where it is.",
)

EXITS = (
    (0, "It is done."),
    (1, "doctor: something could be better."),
    (2, "The command line was not understood."),
    (3, "The monitor of the machine does not answer."),
    (4, "It did not happen in time."),
    (5, "QEMU, the server of the volume or the system refused."),
)


@dataclasses.dataclass(frozen=True)
class Option:
    """name: the long form without dashes. value: what stands for it in help, None for a flag."""

    name: str
    help: str
    kind: str = FLAG
    value: typing.Optional[str] = None
    default: object = None
    choices: tuple = ()

    @property
    def key(self):
        return self.name.replace("-", "_")


@dataclasses.dataclass(frozen=True)
class Operand:
    name: str
    key: str
    many: bool = False
    extra: bool = False  # words behind `--`


@dataclasses.dataclass(frozen=True)
class Verb:
    name: str
    summary: str
    description: tuple
    operands: tuple
    options: tuple
    examples: tuple  # of (command, what it does)
    run: typing.Callable


RUN_DIR = Option("run-dir", "Where sockets and notes of machines lie (default: /run/briq-vm for "
                 "root, $XDG_RUNTIME_DIR/briq-vm for others).", TEXT, "DIRECTORY")
JSON = Option("json", "Answer in JSON; sizes are in bytes.")
TIMEOUT = Option("timeout", "Give up after that time (default: 30).", NUMBER, "SECONDS", 30)
MACHINE = (
    Option("vm", "The machine, by the name it was launched with (default: the only one that runs).",
           TEXT, "NAME"),
    Option("qmp", "The machine by the socket of its monitor, for one that briq-vm did not launch.",
           TEXT, "SOCKET"),
    RUN_DIR, TIMEOUT, JSON,
)
TUNING = (
    Option("queues", "Virtqueues of each disk, at most 1024 (default: 0, as many as the machine "
           "has processors).", NUMBER, "N", 0),
    Option("queue-size", "Requests in a queue: 64, 128, 256, 512 or 1024 (default: QEMU's own).",
           NUMBER, "N", 0),
    Option("reconnect", "How long requests wait for a server that went away before they fail "
           f"(default: {RECONNECT_SECONDS}).", NUMBER, "SECONDS", RECONNECT_SECONDS),
    Option("on-error", "What an error of the disk does: report it to the guest, and pause the "
           "machine only when the medium is full (report, the default), or pause it always (stop).",
           TEXT, "WHAT", "report", ("report", "stop")),
    Option("untuned", "QEMU's defaults instead of an iothread, a queue for each processor, "
           "discard, 4096-byte blocks and reconnecting. For comparison."),
    Option("read-only", "The guest cannot write."),
    Option("server", "What to serve a volume with that nobody serves: nbdkit, serve (`briq "
           "serve`), or auto: serve where briq has it (the default).", TEXT, "NAME", AUTO,
           (AUTO, *KINDS)),
)

LAUNCH = Verb(
    "launch", "start a machine on volumes",
    ("Starts QEMU with a disk for each VOLUME, the first of which it boots from, and stays until "
     "the machine ends. Each disk has an iothread, as many queues as the machine has processors, "
     "passes discards on and survives a restart of its server; spare ports take more disks later. "
     "KVM is used where it works, else software emulation.",
     "A server that launch or attach started and that dies is started again, at once, or if it "
     "dies again and again every 8 seconds; the guest's requests wait for it (--reconnect). Only a "
     "volume in memory is lost with its server.",
     "Words behind -- go to QEMU as they are, after ours. A choice of network, display or serial "
     "console among them replaces ours, which is user-mode network, no display, and the serial "
     "console on this terminal."),
    (Operand("VOLUME", "volume", many=True),
     Operand("QEMU-OPTION", "extra", many=True, extra=True)),
    (Option("print", "Print the commands, and do nothing."),
     Option("vm", "Name of the machine (default: after the first volume).", TEXT, "NAME"),
     Option("cpus", "Processors (default: 1).", NUMBER, "N", 1),
     Option("memory", "Memory of the guest, as QEMU's -m takes it (default: 1G).", TEXT, "SIZE",
            "1G"),
     Option("ports", "Spare hot-plug ports: so many disks can be attached later (default: 8).",
            NUMBER, "N", 8),
     Option("small", "One more disk, for a cloud-init seed or the like: without thread and queues "
            "of its own, and read-only when it is a plain file. May be repeated.", MANY, "FILE"),
     Option("accel", "kvm, tcg (software) or auto (the default).", TEXT, "NAME", "auto",
            ("auto", "kvm", "tcg")),
     Option("form", "blockdev (the default), or drive for -drive options as in hand-written "
            "scripts, with discard as the only tuning.", TEXT, "NAME", "blockdev",
            ("blockdev", "drive")),
     Option("console", "Where the serial console goes, as QEMU's -serial takes it, or none "
            "(default: stdio; with --daemon a file console.log in the machine's directory).", TEXT,
            "WHERE"),
     Option("daemon", "Return when the machine runs, and leave it in the background."),
     *TUNING, RUN_DIR, JSON),
    (("briq-vm launch root.briq data.briq --cpus 4 --memory 4G", "A machine with two disks."),
     ("briq-vm launch root.briq --small seed.iso --daemon", "One in the background, with a "
      "cloud-init seed."),
     ("briq-vm launch root.briq --print -- -vnc :1", "What would be run.")),
    cmd_launch.run)

ATTACH = Verb(
    "attach", "give a running machine a disk",
    ("Serves VOLUME if nobody does, gives it to the machine on a free port and waits until the "
     "guest's driver has taken it. When any of that fails, what was done is undone. A volume that "
     "the machine has already is refused.",),
    (Operand("VOLUME", "volume"),),
    (Option("id", "Name of the disk, and its serial number in the guest (default: after the "
            "volume).", TEXT, "NAME"),
     Option("no-wait", "Do not wait for the guest, which may not run yet."),
     *TUNING, *MACHINE),
    (("briq-vm attach data.briq", "To the only machine that runs."),
     ("briq-vm attach /dev/ublkb0 --qmp /run/vm1.qmp --id fast", "A ublk device to a machine that "
      "somebody else started.")),
    cmd_attach.run)

DETACH = Verb(
    "detach", "take a disk from a running machine",
    ("Asks the guest to give the disk back, waits until it did, and removes the disk, its iothread "
     "and the server that was started for it. DISK is a volume or what list shows as its ID. A "
     "disk that is not there is no error, and what an interrupted detach left is cleaned up.",),
    (Operand("DISK", "disk"),),
    (Option("force", "If the server does not answer, take its place and fail what the guest waits "
            "for. For a disk whose server is gone for good: what was not written is lost."),
     *MACHINE),
    (("briq-vm detach data.briq", "By volume."), ("briq-vm detach briq-data", "By ID.")),
    cmd_detach.run)

LIST = Verb(
    "list", "show the disks of a running machine",
    ("Shows every disk that has a medium, whoever attached it, with what it is connected to, its "
     "state and what was read and written so far, and how many ports are free. A disk whose server "
     "was started by briq-vm and has ended says so.",),
    (), MACHINE, (("briq-vm list --json", "For programs."),), cmd_list.run)

RESIZE = Verb(
    "resize", "make a disk of a running machine larger",
    ("Makes the volume of DISK larger, up to SIZE, or with +SIZE by that, and lets the guest know. "
     "Without SIZE the guest is told the size that the server has. QEMU learns of a new size only "
     "when it connects anew, so the disk must have been attached with reconnecting.",
     "A `briq serve` of this user grows the volume while it serves it, and disconnects QEMU. An "
     "nbdkit has to open the volume again to see its new size. One that briq-vm started is "
     "therefore killed, the volume grown, and another started at the same place: what the guest "
     "had been told is written is not lost by that, and what it waits for is repeated. A server "
     "that somebody else started must be restarted by them, with the larger volume, before resize "
     "without SIZE. (nbdkit not by SIGTERM: it then answers requests with errors until its "
     "clients have gone.)"),
    (Operand("DISK", "disk"), Operand("[SIZE]", "size")),
    MACHINE,
    (("briq-vm resize data.briq +10G", "Ten GiB more."),
     ("briq-vm resize briq-data", "To what its server has.")),
    cmd_resize.run)

DOCTOR = Verb(
    "doctor", "say what a running machine could do better",
    ("Looks at a running machine and at this host, and says what is missing for speed or safety: "
     "emulation in spite of KVM, disks without an iothread or with one queue, discards that are "
     "ignored, block sizes that do not fit, no reconnecting, no free ports, small socket buffers. "
     "The exit code is 1 when there is anything to say.",),
    (), MACHINE, (("briq-vm doctor --vm web", "Of the machine called web."),), cmd_doctor.run)

REVIVE = Verb(
    "revive", "start servers again that have ended",
    ("Starts the server of DISK, or of every disk, again at the same socket if briq-vm had started "
     "it and it has ended, and lets a machine go on that has stopped because of an error of a disk "
     "(--on-error stop). The guest's requests that still wait are repeated, and what it had been "
     "told is written is there.",
     "launch does the first by itself for its machine. This is for a machine that it did not "
     "launch, for a launch that was killed, and for who does not want to wait for its next try, "
     "which comes within 8 seconds."),
    (Operand("[DISK]", "disk"),), MACHINE,
    (("briq-vm revive", "Whatever of the machine needs it."),), cmd_revive.run)

VERBS = (LAUNCH, ATTACH, DETACH, LIST, RESIZE, REVIVE, DOCTOR)


def find(name):
    """The verb of that name, or None."""
    return next((verb for verb in VERBS if verb.name == name), None)
