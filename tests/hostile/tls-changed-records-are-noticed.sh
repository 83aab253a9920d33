#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A record that was changed on the way ends the session and changes nothing.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls changed_records_are_noticed
