#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ext4 on the kernel's NBD client with 4 connections to `briq serve`: as the case with nbdkit.
export BRIQ_FRONTEND=serve

# shellcheck source=tests/guest/cases/ext4-lives-on-a-volume.sh
source "$BRIQ_SOURCE/tests/guest/cases/ext4-lives-on-a-volume.sh"
