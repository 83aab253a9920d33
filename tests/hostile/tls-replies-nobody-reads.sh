#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client of TLS that reads no replies gets no more of the server's memory than others.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls replies_nobody_reads_over_tls
