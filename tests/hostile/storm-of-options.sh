#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Options without end, whose answers nobody reads, cost the server no memory.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile storm_of_options
