#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Requests sent before a disconnect are all answered before the server hangs up.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile everything_before_the_end_is_answered
