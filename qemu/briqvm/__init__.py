# SPDX-License-Identifier: BSD-3-Clause
"""briqvm - what `briq-vm` is made of: QEMU guests on Briq volumes.

In the order to read them: errors and deadline (what everything below raises and is bounded by), qmp
(the monitor), nbd_probe (what a socket serves), volume (what the user named), rundir and servers
(who serves it), disk (how QEMU is told to use it), commandline (a whole machine), machine (a
running one), supervisor (what watches over its servers), cmd_*.py (a file for each verb), verbs and
man (the tables of the options and their page), main.

Only the standard library of Python 3.9 or later is used.
"""
