# SPDX-License-Identifier: BSD-3-Clause
"""units.py - sizes as users write and read them, powers of 1024 as everywhere in Briq."""
import re

from .errors import UsageError

SUFFIXES = "KMGTP"
BYTES_MAX = (1 << 63) - 1


def parse_size(text):
    """Bytes from "4096", "64M", "1.5G" (the last only where it is a whole number of bytes)."""
    match = re.fullmatch(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?([KMGTPkmgtp]?)", text)
    if not match:
        raise UsageError(f"{text!r} is not a size: digits and K, M, G, T or P")
    unit = 1024 ** (SUFFIXES.index(match[3].upper()) + 1) if match[3] else 1
    fraction = match[2] or ""
    scaled = int(match[1] + fraction) * unit
    if scaled % 10 ** len(fraction):
        raise UsageError(f"{text} is not a whole number of bytes")
    size = scaled // 10 ** len(fraction)
    if size > BYTES_MAX:
        raise UsageError(f"{text} is too large")
    return size


def format_size(size):
    """"20 GiB", with one digit behind the point where that is needed."""
    unit = 0
    while size >= 1024 << (10 * unit) and unit < len(SUFFIXES):
        unit += 1
    if unit == 0:
        return f"{size} B"
    number = f"{size / (1 << (10 * unit)):.1f}".removesuffix(".0")
    return f"{number} {SUFFIXES[unit - 1]}iB"
