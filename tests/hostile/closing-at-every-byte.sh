#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A session may end behind any of its bytes; the server lives and is well.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile closing_at_every_byte
