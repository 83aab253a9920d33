#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Export names of every length up to 4096 bytes and beyond get an answer, never a crash.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile names_of_every_length
