/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rebuild_faults.c - a lost map page found again: every call that can fail does, see loops.h.
 */
#include <stddef.h>

#include "tests/faults/loops.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"rebuild", NULL};
    return faults_main(argc, argv, names);
}
