/* SPDX-License-Identifier: BSD-3-Clause */
/* test_open_faults.c - making and opening a volume: every call that can fail does, see loops.h. */
#include <stddef.h>

#include "tests/faults/loops.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"create", "open", "start", "memory", NULL};
    return faults_main(argc, argv, names);
}
