#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# 2^32-1 and 2^64-1 at every place of a session do no harm.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve
requires_module nbd
hostile largest_length_at_every_byte
