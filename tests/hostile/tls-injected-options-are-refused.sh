#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What comes in the clear behind the request for TLS is never acted upon.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls injected_options_are_refused
