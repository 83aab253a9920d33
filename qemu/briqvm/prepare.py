# SPDX-License-Identifier: BSD-3-Clause
"""prepare.py - from the word the user gave to a Disk that QEMU can be told about.

The volume's server is found, or started in the machine's directory.
"""
from . import servers, volume as volumes
from .disk import Disk
from .errors import UsageError
from .volume import DEVICE, FILE, ID_PREFIX, MEMORY, RAW


def disk_name(volume, given):
    """(id, serial) of the disk: what --id says, or after the volume."""
    serial = volumes.short_name(given or volume.name)
    if given and serial != given:
        raise UsageError(f"--id {given}: at most {volumes.SERIAL_BYTES_MAX} letters, digits, -_.")
    return ID_PREFIX + serial, serial


def planned(volume, settings, where, given_id=None):
    """The Disk as prepare() would make it, for printing: nothing is asked or started. A volume of
    ours is taken to be served by a server in the machine's directory."""
    disk_id, serial = disk_name(volume, given_id)
    endpoint = None
    if volume.kind not in (DEVICE, RAW):
        endpoint = (servers.Endpoint(where.socket(disk_id + ".sock"), serial)
                    if volume.kind in (FILE, MEMORY)
                    else servers.Endpoint(volume.path, volume.export))
    return Disk(disk_id, serial, volume, endpoint, settings)


def prepare(volume, settings, where, kind, given_id=None):
    """Returns (Disk, Server or None); the volume is served when this returns.

    The Server is one that was started here, for the caller to stop when its own work fails.
    """
    disk_id, serial = disk_name(volume, given_id)
    if volume.kind in (DEVICE, RAW):
        return Disk(disk_id, serial, volume, None, settings), None
    endpoint, server = servers.find(volume), None
    if endpoint is None:
        endpoint, server = servers.start(volume, serial, where, disk_id, kind, settings.read_only)
    endpoint.size()
    return Disk(disk_id, serial, volume, endpoint, settings), server
