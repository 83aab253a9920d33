/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * history.h - whether what several threads read from one block fits what they wrote to it.
 *
 * Each block is linearizable: there is an order of all operations on it that respects real time and
 * in which every read returns the write before it. That is more than that each read returns the
 * last value acknowledged before it began, or one whose write overlaps with it: it also excludes
 * two readers who see two writes in different orders.
 *
 * Every value is written once, so what a read returned says which write it saw, and the question
 * can be answered for histories of any length (Gibbons and Korach, "Testing shared memories",
 * 1997): a value and its readers span a zone of time. If one of them was over before another
 * began, the value was there all that time; two such zones must not overlap, and a value whose
 * operations all overlap at some instant must not have all its life inside such a zone.
 *
 * For writes of parts of a block, and several of the same bytes, there is linear.h.
 */
#ifndef BRIQ_TESTS_LIB_HISTORY_H
#define BRIQ_TESTS_LIB_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

/* One operation on the block: it wrote or read all of it. */
struct test_event {
    uint64_t value;
    uint64_t begin, end; /* logical time of call and return: above 0, no two are the same */
    bool write;
};

enum test_verdict {
    TEST_VERDICT_LINEAR,
    TEST_VERDICT_UNWRITTEN, /* a read returned what nobody wrote */
    TEST_VERDICT_EARLY,     /* a read was over before the write that it saw began */
    TEST_VERDICT_STALE,     /* a value was seen although another had taken its place for good */
};

/*
 * Judges a history that began with the value `initial`, which nobody writes in it. Sorts events.
 * On any other verdict than LINEAR *ret_value is a value that cannot be explained. Allocates; ends
 * the program when memory runs out.
 */
enum test_verdict test_history_judge(struct test_event *events, size_t count, uint64_t initial,
                                     uint64_t *ret_value) BRIQ_MUST;

/* For messages. */
const char *test_verdict_text(enum test_verdict verdict);

#endif
