/* SPDX-License-Identifier: BSD-3-Clause */
/* test_repair_faults.c - repairs: every call that can fail does, see loops.h. */
#include <stddef.h>

#include "tests/faults/loops.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"repair", NULL};
    return faults_main(argc, argv, names);
}
