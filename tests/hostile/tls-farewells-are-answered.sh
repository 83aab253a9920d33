#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The end of a TLS session is said and answered, behind all replies.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls farewells_are_answered
