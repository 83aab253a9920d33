# SPDX-License-Identifier: BSD-3-Clause
"""errors.py - how briq-vm fails: one exception for each exit code.

The text of an exception is the one line that the user reads: what, where, why, what to do.
"""


class BriqVmError(Exception):
    """Base of all failures that are told in one line."""

    exit_code = 5


class UsageError(BriqVmError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class Unreachable(BriqVmError):
    """The monitor of the machine cannot be talked to."""

    exit_code = 3


class TimedOut(BriqVmError):
    """What was waited for did not come in time."""

    exit_code = 4


class Refused(BriqVmError):
    """QEMU, the server of the volume or the system said no.

    qmp_class is QEMU's error class when it was QEMU ("GenericError", "CommandNotFound", ...).
    """

    exit_code = 5

    def __init__(self, text, qmp_class=None):
        super().__init__(text)
        self.qmp_class = qmp_class


class Busy(TimedOut):
    """Somebody else did not finish what must not be done by two at a time."""
