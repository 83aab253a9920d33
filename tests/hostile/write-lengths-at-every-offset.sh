#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A refused write is read to its end, so that the next request is understood.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile write_lengths_at_every_offset
