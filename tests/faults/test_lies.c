/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_lies.c - a medium that lies: writes it loses or puts elsewhere, bits that turn over on the
 * way to it or from it, reads that return what was there before. What is read is right or an error.
 */
#include "tests/faults/loops.h"

int main(int argc, char **argv)
{
    return lies_main(argc, argv);
}
