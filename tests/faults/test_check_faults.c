/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check_faults.c - checks and dumps: every call that can fail does, see loops.h. */
#include <stddef.h>

#include "tests/faults/loops.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"check", "dump", NULL};
    return faults_main(argc, argv, names);
}
