#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is not a request ends the connection.

# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
hostile requests_with_wrong_magic
