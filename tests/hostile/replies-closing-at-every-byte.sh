#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client may leave behind any byte of the replies.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve
requires_module nbd
hostile replies_closing_at_every_byte
