#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# 100 clients with 128 requests of 1 MiB each, none of which reads an answer, cost no more memory than
# server/limits.h says.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile never_reading_clients --max-connections=110
