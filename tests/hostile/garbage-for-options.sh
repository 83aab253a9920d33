#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Random bytes in place of options end the connection and nothing else.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile garbage_for_options
