#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A session of libnbd may end behind any of its bytes, in three ways.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve
requires_module nbd
hostile recorded_session_closing_at_every_byte
