#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Ranges around 2 and 4 GiB, at odd places, are trimmed, zeroed and described; with extended headers
# a TiB at a time.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

# shellcheck disable=SC2034 # hostile reads it
export_size=1T
hostile largest_ranges_of_a_large_export
