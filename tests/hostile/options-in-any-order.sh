#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Options in any order, with any payload, are each answered or end the connection.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile options_in_any_order
