#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client that will send no more gets what it asked for, and the connection ends.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile half_closing_at_every_byte
