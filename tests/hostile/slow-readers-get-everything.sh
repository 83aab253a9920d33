#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that read slowly get all answers, and hold up nobody.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile slow_readers_get_everything
