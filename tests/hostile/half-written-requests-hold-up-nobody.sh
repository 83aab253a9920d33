#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients stuck in the middle of a request hold up nobody else.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile half_written_requests_hold_up_nobody
