# SPDX-License-Identifier: BSD-3-Clause
"""deadline.py - a point in time by which a whole operation is over, however many waits it has."""
import time

from .errors import TimedOut


class Deadline:
    """`seconds` from now, by a clock that is never set back."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self):
        """Seconds that are left, 0 when there are none."""
        return max(0.0, self._end - time.monotonic())

    def passed(self):
        return self.left() == 0.0

    def at_most(self, seconds):
        """A deadline `seconds` from now, but no later than this one."""
        return Deadline(min(seconds, self.left()))

    def check(self, what):
        """Raises TimedOut, saying that `what` did not happen, when no time is left."""
        if self.passed():
            raise TimedOut(f"{what} within {self.seconds:g} s (--timeout)")
