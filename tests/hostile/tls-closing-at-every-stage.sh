#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client of TLS may go away at any byte, in any way.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls closing_at_every_stage
