#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every length at every offset: outside the export is an error, inside is answered.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile lengths_at_every_offset
