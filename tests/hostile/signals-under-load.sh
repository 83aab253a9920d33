#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Signals that mean nothing are nothing to a server under load.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile signals_under_load
