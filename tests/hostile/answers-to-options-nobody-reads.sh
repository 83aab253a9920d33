#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who does not read the answers to its options is hung up on when the handshake's time is over.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile answers_to_options_nobody_reads --sndbuf=4096 --handshake-timeout=1
