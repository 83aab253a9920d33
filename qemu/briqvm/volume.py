# SPDX-License-Identifier: BSD-3-Clause
"""volume.py - what the user named: a Briq volume, an export that is served already, a device, a
file.

  PATH                                 a volume that `briq create` or `briq import` made
  mem:SIZE[,limit=SIZE]                a new volume in the memory of its server
  nbd:unix:SOCKET[:exportname=NAME]    an export of a server that runs already
  nbd+unix:///NAME?socket=SOCKET       the same
  /dev/ublkbN, device:PATH             a block device of the host
"""
import dataclasses
import hashlib
import os
import re
import stat
import urllib.parse

from .errors import Refused, UsageError

MAGIC = b"BRIQVOL\n"
FILE, MEMORY, NBD, DEVICE, RAW = "file", "memory", "nbd", "device", "raw"

# What a virtio disk can show to its guest.
SERIAL_BYTES_MAX = 20
ID_PREFIX = "briq-"


@dataclasses.dataclass(frozen=True)
class Volume:
    """kind: one of the above. path: of the file, the device or (NBD) the server's socket."""

    kind: str
    word: str
    path: str
    export: str = ""

    @property
    def name(self):
        """What people call it: the base of the disk's id and its serial number."""
        if self.kind == MEMORY:
            return "mem"
        if self.kind == NBD and self.export:
            return os.path.basename(self.export)
        base = os.path.basename(self.path)
        return base.removesuffix(".sock" if self.kind == NBD else ".briq")


def short_name(name):
    """`name` as QEMU and virtio can take it: letters, digits, -_. and at most 20 of them.

    A name that is changed by that gets the beginning of its hash, to stay different from others.
    """
    clean = re.sub(r"[^A-Za-z0-9._-]", "-", name) or "disk"
    if clean == name and len(clean) <= SERIAL_BYTES_MAX:
        return clean
    digest = hashlib.sha256(name.encode()).hexdigest()[:4]
    return f"{clean[:SERIAL_BYTES_MAX - 5]}-{digest}"


def _parse_legacy_nbd(word):
    match = re.fullmatch(r"nbd:unix:([^:]+)(?::exportname=(.*))?", word)
    if not match:
        raise UsageError(f"{word!r}: only nbd:unix:SOCKET[:exportname=NAME] is known")
    return Volume(NBD, word, os.path.abspath(match[1]), match[2] or "")


def _parse_uri(word):
    parts = urllib.parse.urlsplit(word)
    sockets = urllib.parse.parse_qs(parts.query).get("socket", [])
    if parts.netloc or len(sockets) != 1:
        raise UsageError(f"{word!r}: only nbd+unix:///NAME?socket=SOCKET is known")
    export = urllib.parse.unquote(parts.path.removeprefix("/"))
    return Volume(NBD, word, os.path.abspath(sockets[0]), export)


def _parse_device(word, path):
    try:
        if not stat.S_ISBLK(os.stat(path).st_mode):
            raise Refused(f"{path}: is not a block device")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    return Volume(DEVICE, word, os.path.realpath(path))


def _parse_file(word):
    path = os.path.realpath(word)
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise Refused(f"{word}: {error.strerror}") from error
    return Volume(FILE if magic == MAGIC else RAW, word, path)


def parse(word, raw_allowed=False):
    """What `word` names; looks at files and devices. A file that is no volume is refused unless
    raw_allowed. Raises UsageError or Refused."""
    if word.startswith("nbd:"):
        return _parse_legacy_nbd(word)
    if word.startswith("nbd+unix:"):
        return _parse_uri(word)
    if word.startswith("mem:"):
        return Volume(MEMORY, word, word)
    if word.startswith("device:"):
        return _parse_device(word, word.removeprefix("device:"))
    if re.fullmatch(r"/dev/ublkb[0-9]+", word):
        return _parse_device(word, word)
    volume = _parse_file(word)
    if volume.kind == RAW and not raw_allowed:
        raise Refused(f"{word}: is not a Briq volume; `briq import {word} NEW.briq` makes one of "
                      "it")
    return volume
