#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Connections reset while answers are under way end by themselves.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile resets_while_answers_are_sent
