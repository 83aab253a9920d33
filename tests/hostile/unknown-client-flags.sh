#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client flag that the server does not know ends the connection.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile unknown_client_flags
