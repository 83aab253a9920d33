#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Connections reset while answers are under way end by themselves.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile resets_while_answers_are_sent
