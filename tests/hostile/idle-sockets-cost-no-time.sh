#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that stopped in any state cost no processor time.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile idle_sockets_cost_no_time
