#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# fio on the kernel's NBD client with 4 connections to `briq serve` without io_uring: as the case with nbdkit.
export BRIQ_FRONTEND=serve-threads

# shellcheck source=tests/guest/cases/fio-verifies-its-checksums.sh
source "$BRIQ_SOURCE/tests/guest/cases/fio-verifies-its-checksums.sh"
