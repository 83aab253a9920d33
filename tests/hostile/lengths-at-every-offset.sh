#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every length at every offset: outside the export is an error, inside is answered.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile lengths_at_every_offset
