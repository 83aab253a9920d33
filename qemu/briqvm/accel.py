# SPDX-License-Identifier: BSD-3-Clause
"""accel.py - whether this machine can run guests on its processor (KVM) or must emulate one."""
import fcntl
import os

KVM = "/dev/kvm"
KVM_GET_API_VERSION = 0xAE00
KVM_API_VERSION = 12
# KVM without hardware support (kvm_pvm) runs only guest kernels that were made for it.
HARDWARE_MODULES = ("kvm_intel", "kvm_amd")


def kvm_usable():
    """True when guests with any kernel can run under KVM here."""
    try:
        descriptor = os.open(KVM, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        version = fcntl.ioctl(descriptor, KVM_GET_API_VERSION)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return version == KVM_API_VERSION and any(
        os.path.isdir(f"/sys/module/{module}") for module in HARDWARE_MODULES)


def choose(word):
    """"kvm" or "tcg" for what --accel says."""
    if word == "auto":
        return "kvm" if kvm_usable() else "tcg"
    return word
