#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Half a TLS handshake holds up nobody, and ends with the handshake's time.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls half_a_handshake_held_open --handshake-timeout=2
