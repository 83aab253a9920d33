#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What was agreed on in the clear does not count behind TLS.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile_over_tls state_before_tls_is_forgotten
