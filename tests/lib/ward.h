/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ward.h - what the tests of check, repair and of damaged accounts begin with: a patient, where
 * everything lies in it, and room for findings. Set up and torn down as cmocka wants it.
 * Thread: one owner.
 */
#ifndef BRIQ_TESTS_LIB_WARD_H
#define BRIQ_TESTS_LIB_WARD_H

#include <stdint.h>

#include "tests/lib/patient.h"

struct test_ward {
    struct test_patient patient;
    struct test_places places;
    struct test_findings findings;
};

/* Makes it *state. `program` is the path of the test, for the line that repeats it. Returns 0. */
int test_ward_open(void **state, const char *program, unsigned segment_shift,
                   enum test_patient_state how);
int test_ward_close(void **state);

/* The offset of the chunk that holds the extent at `at`. */
uint64_t test_ward_chunk_around(const struct test_ward *ward, uint64_t at);

/* The first block with data from `block` on. */
uint32_t test_ward_data_block(const struct test_ward *ward, uint32_t block);

#endif
