#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A thousand connections that come and go leave no descriptor behind.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile thousand_connects_and_drops
