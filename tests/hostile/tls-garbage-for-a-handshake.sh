#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Anything but a ClientHello ends the connection, and costs nobody else anything.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls garbage_for_a_handshake
