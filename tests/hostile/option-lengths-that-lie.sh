#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An option whose length, or a length inside it, is not true is refused, whatever it claims.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile option_lengths_that_lie
