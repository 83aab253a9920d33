#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that ask and never read are held to a limit, and disturb nobody.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile replies_nobody_reads
