#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Export names of every length up to 4096 bytes and beyond get an answer, never a crash.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile names_of_every_length
