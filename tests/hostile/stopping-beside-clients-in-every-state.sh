#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that is told to end, ends, whatever its clients are doing.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile stopping_beside_clients_in_every_state
