#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Requests sent before a disconnect are all answered before the server hangs up.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile everything_before_the_end_is_answered
