#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client flag that the server does not know ends the connection.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile unknown_client_flags
