#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A thousand connections that come and go leave no descriptor behind.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile thousand_connects_and_drops
