# SPDX-License-Identifier: BSD-3-Clause
"""commandline.py - the command line of a machine.

q35 with a root port for each disk and spare ones for disks to come: a port cannot be added later.
What the user gives behind `--` comes last, and replaces our own choice of network, display and
serial console where it makes one.
"""
import dataclasses
import json
import shlex

from .disk import key_value
from .errors import UsageError

QEMU = "qemu-system-x86_64"
# Linux 6.12 allocates memory with cmpxchg16b, which QEMU 7.2 does not emulate right.
CPU_EMULATED = "max,cx16=off"
BOOT_FIRST = 10  # 0 is what -kernel takes, and what is below ours stays free for others
PORTS_MAX = 24  # slots on the root bus that QEMU leaves free
NETWORK_OPTIONS = ("-nic", "-net", "-netdev")
DISPLAY_OPTIONS = ("-display", "-nographic", "-vnc", "-spice", "-curses")
SERIAL_OPTIONS = ("-serial", "-nographic")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a machine is made of. console: an argument of -serial. form: "blockdev", or
    "drive" for -drive options as in people's own scripts."""

    name: str
    qmp_socket: str
    disks: tuple
    accel: str = "tcg"
    cpus: int = 1
    memory: str = "1G"
    spare_ports: int = 8
    form: str = "blockdev"
    console: str = "stdio"
    extra: tuple = ()

    def check(self):
        if self.cpus < 1:
            raise UsageError(f"--cpus {self.cpus}: must be 1 or more")
        total = self.spare_ports + len(self.disks)
        if self.spare_ports < 0 or total > PORTS_MAX:
            raise UsageError(f"--ports {self.spare_ports}: disks and spare ports together must be "
                             f"0 to {PORTS_MAX}")
        ids = [disk.id for disk in self.disks]
        for disk_id in ids:
            if ids.count(disk_id) > 1:
                raise UsageError(f"two disks would be named {disk_id}: the volumes need different "
                                 "file names")


def build(plan):
    """The words of the command, as a list of lists: one for each option, for printing."""
    options = [[QEMU], ["-name", plan.name + ",debug-threads=on"],
               ["-machine", f"q35,accel={plan.accel}"],
               ["-cpu", "host" if plan.accel == "kvm" else CPU_EMULATED],
               ["-smp", str(plan.cpus)], ["-m", plan.memory], ["-nodefaults"],
               ["-chardev", f"socket,id=briq-qmp,path={plan.qmp_socket},server=on,wait=off"],
               ["-mon", "chardev=briq-qmp,mode=control"]]
    options += _surroundings(plan)
    if plan.form == "drive":
        options += [["-drive", disk.plain_drive()] for disk in plan.disks]
        options += _ports(0, plan.spare_ports)
    else:
        options += _ports(0, len(plan.disks) + plan.spare_ports)
        for index, disk in enumerate(plan.disks):
            options += _disk(disk, index, plan.cpus)
    return options + ([list(plan.extra)] if plan.extra else [])


def _surroundings(plan):
    def ours(*names):
        return not set(names) & set(plan.extra)
    options = []
    if ours(*DISPLAY_OPTIONS):
        options.append(["-display", "none"])
    if ours(*SERIAL_OPTIONS) and plan.console != "none":
        options.append(["-serial", plan.console])
    if ours(*NETWORK_OPTIONS):
        options.append(["-nic", "user,model=virtio-net-pci"])
    return options


def _ports(first, count):
    return [["-device", f"pcie-root-port,id=briq-port{index},bus=pcie.0,chassis={index + 1}"]
            for index in range(first, first + count)]


def _disk(disk, index, cpus):
    options = []
    if disk.has_iothread:
        options.append(["-object", key_value({"driver": "iothread", "id": disk.id})])
    options.append(["-blockdev", json.dumps(disk.blockdev(), separators=(",", ":"))])
    device = disk.device(f"briq-port{index}", cpus) | {"bootindex": BOOT_FIRST + index}
    options.append(["-device", key_value(device)])
    return options


def words(options):
    return [word for option in options for word in option]


def shown(options):
    """The command as a shell takes it, an option a line."""
    return " \\\n    ".join(shlex.join(option) for option in options)
