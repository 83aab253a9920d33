/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ublk_request.c - descriptors of the kernel become operations of the store, large ones in
 * pieces that cover them exactly, and results become answers that a kernel understands.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "ublk-frontend/request.h"

static const struct briq_ublk_limits limits = {
    .sectors = 1u << 20, .max_io_bytes = 1u << 20, .piece_bytes = 128u << 10};

static struct briq_ublk_request read_desc(unsigned op_flags, uint64_t start, uint32_t sectors)
{
    const struct ublk_io_desc desc = {
        .op_flags = op_flags, .start_sector = start, .sectors = sectors};
    struct briq_ublk_request request;
    assert_int_equal(briq_ublk_request_read(&desc, &limits, &request), 0);
    return request;
}

static int refusal_of(unsigned op_flags, uint64_t start, uint32_t sectors)
{
    const struct ublk_io_desc desc = {
        .op_flags = op_flags, .start_sector = start, .sectors = sectors};
    struct briq_ublk_request request;
    return briq_ublk_request_read(&desc, &limits, &request);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void every_operation_is_known(void **state)
{
    static const struct {
        unsigned op;
        enum briq_op_kind kind;
        bool brings, wants;
        unsigned flags;
    } known[] = {
        {UBLK_OP_READ, BRIQ_OP_READ, false, true, 0},
        {UBLK_OP_WRITE, BRIQ_OP_WRITE, true, false, 0},
        {UBLK_OP_WRITE | UBLK_OP_F_FUA, BRIQ_OP_WRITE, true, false, BRIQ_OP_FUA},
        {UBLK_OP_DISCARD, BRIQ_OP_TRIM, false, false, 0},
        {UBLK_OP_WRITE_ZEROES, BRIQ_OP_ZERO, false, false, BRIQ_OP_MAY_TRIM},
        {UBLK_OP_WRITE_ZEROES | UBLK_OP_F_NOUNMAP, BRIQ_OP_ZERO, false, false, 0},
        {UBLK_OP_WRITE_ZEROES | UBLK_OP_F_NOUNMAP | UBLK_OP_F_FUA, BRIQ_OP_ZERO, false, false,
         BRIQ_OP_FUA},
        /* Hints of the block layer change nothing. */
        {UBLK_OP_READ | 1u << 8 | 1u << 11 | 1u << 16, BRIQ_OP_READ, false, true, 0},
    };
    (void)state;
    for (size_t i = 0; i < BRIQ_COUNT_OF(known); i++) {
        struct briq_ublk_request request = read_desc(known[i].op, 3, 5);
        assert_int_equal(request.kind, known[i].kind);
        assert_int_equal(request.brings_data, known[i].brings);
        assert_int_equal(request.wants_data, known[i].wants);
        assert_int_equal(request.flags, known[i].flags);
        assert_int_equal(request.off, 3 * 512);
        assert_int_equal(request.len, 5 * 512);
        assert_int_equal(request.done, 0);
    }
    struct briq_ublk_request flush = read_desc(UBLK_OP_FLUSH, 0, 0);
    assert_int_equal(flush.kind, BRIQ_OP_FLUSH);
    assert_int_equal(flush.flags, 0);
}

static void unknown_operations_are_refused(void **state)
{
    (void)state;
    for (unsigned op = 0; op <= UBLK_OP_MASK; op++) {
        bool known = op <= 3 || op == 5;
        assert_int_equal(refusal_of(op, 0, 8), known ? 0 : -EOPNOTSUPP);
    }
}

static void ranges_outside_the_device_are_refused(void **state)
{
    (void)state;
    uint64_t end = limits.sectors;
    assert_int_equal(refusal_of(UBLK_OP_READ, end - 8, 8), 0);
    assert_int_equal(refusal_of(UBLK_OP_READ, end - 8, 9), -EINVAL);
    assert_int_equal(refusal_of(UBLK_OP_WRITE, end + 1, 1), -EINVAL);
    assert_int_equal(refusal_of(UBLK_OP_DISCARD, UINT64_MAX, 8), -EINVAL);
    assert_int_equal(refusal_of(UBLK_OP_WRITE_ZEROES, UINT64_MAX - 3, 8), -EINVAL);
    /* What has data has a limit, what has none has not. */
    assert_int_equal(refusal_of(UBLK_OP_WRITE, 0, 2048), 0);
    assert_int_equal(refusal_of(UBLK_OP_WRITE, 0, 2049), -EINVAL);
    assert_int_equal(refusal_of(UBLK_OP_DISCARD, 0, (uint32_t)end), 0);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Walks a request to its end; returns the number of pieces. */
static unsigned walk(struct briq_ublk_request *request, int *ret_answer)
{
    unsigned pieces = 0;
    uint64_t next = request->off;
    for (;;) {
        struct briq_ublk_piece piece = briq_ublk_request_take(request, &limits);
        bool last = piece.position + piece.len == request->len;
        assert_int_equal(piece.off, next);
        assert_int_equal(piece.position, next - request->off);
        assert_true(piece.len <= limits.piece_bytes || piece.len == request->len);
        if (!last)
            assert_int_equal((piece.off + piece.len) % BRIQ_BLOCK_BYTES, 0);
        /* The last one vouches for all before it. */
        assert_int_equal(piece.flags, last ? request->flags : request->flags & ~BRIQ_OP_FUA);
        next += piece.len;
        pieces++;
        if (briq_ublk_request_advance(request, &piece, 0, ret_answer)) {
            assert_true(last);
            return pieces;
        }
        assert_false(last);
        assert_true(briq_ublk_request_has_piece(request, &limits));
    }
}

static void pieces_cover_a_request_exactly(void **state)
{
    (void)state;
    uint64_t seed = getenv("BRIQ_SEED") != NULL ? strtoull(getenv("BRIQ_SEED"), NULL, 0) : 1;
    print_message("seed %" PRIu64 "\n", seed);
    struct briq_prng prng = {.state = seed};
    for (int i = 0; i < 20000; i++) {
        uint32_t sectors = 1 + (uint32_t)briq_prng_below(&prng, limits.max_io_bytes / 512);
        uint64_t start = briq_prng_below(&prng, limits.sectors - sectors + 1);
        bool write = briq_prng_below(&prng, 2) == 1;
        unsigned op = write ? UBLK_OP_WRITE | UBLK_OP_F_FUA : UBLK_OP_READ;
        struct briq_ublk_request request = read_desc(op, start, sectors);
        int answer = -1;
        unsigned pieces = walk(&request, &answer);
        assert_int_equal(answer, sectors * 512);
        assert_true(pieces <= 1 + (sectors * 512 + 4095) / (limits.piece_bytes - 4095));
    }
}

static void what_has_no_data_is_one_piece(void **state)
{
    (void)state;
    struct briq_ublk_request trim = read_desc(UBLK_OP_DISCARD, 8, 1u << 19);
    int answer = -1;
    assert_int_equal(walk(&trim, &answer), 1);
    assert_int_equal(answer, 0);
    struct briq_ublk_request flush = read_desc(UBLK_OP_FLUSH, 0, 0);
    assert_int_equal(walk(&flush, &answer), 1);
    assert_int_equal(answer, 0);
}

static void a_failed_piece_ends_its_request(void **state)
{
    (void)state;
    struct briq_ublk_request request = read_desc(UBLK_OP_WRITE, 0, 2048);
    int answer = 0;
    struct briq_ublk_piece piece = briq_ublk_request_take(&request, &limits);
    assert_false(briq_ublk_request_advance(&request, &piece, 0, &answer));
    piece = briq_ublk_request_take(&request, &limits);
    assert_true(briq_ublk_request_advance(&request, &piece, -ENOSPC, &answer));
    assert_int_equal(answer, -ENOSPC);
}

/* Takes as many pieces as there are now; returns how many. */
static unsigned take_all(struct briq_ublk_request *request, struct briq_ublk_piece *pieces)
{
    unsigned count = 0;
    pieces[count++] = briq_ublk_request_take(request, &limits);
    while (briq_ublk_request_has_piece(request, &limits))
        pieces[count++] = briq_ublk_request_take(request, &limits);
    return count;
}

static void pieces_may_end_in_any_order(void **state)
{
    (void)state;
    struct briq_ublk_piece pieces[16];
    int answer = 0;
    struct briq_ublk_request read = read_desc(UBLK_OP_READ, 8, 2048);
    unsigned count = take_all(&read, pieces);
    assert_int_equal(count, (1u << 20) / limits.piece_bytes);
    while (count > 1)
        assert_false(briq_ublk_request_advance(&read, &pieces[--count], 0, &answer));
    assert_true(briq_ublk_request_advance(&read, &pieces[0], 0, &answer));
    assert_int_equal(answer, 1 << 20);
}

static void the_piece_that_vouches_comes_last(void **state)
{
    (void)state;
    struct briq_ublk_piece pieces[16];
    int answer = 0;
    struct briq_ublk_request write = read_desc(UBLK_OP_WRITE | UBLK_OP_F_FUA, 0, 2048);
    unsigned count = take_all(&write, pieces);
    assert_int_equal(count, (1u << 20) / limits.piece_bytes - 1);
    while (count > 0) {
        assert_false(briq_ublk_request_has_piece(&write, &limits));
        assert_false(briq_ublk_request_advance(&write, &pieces[--count], 0, &answer));
    }
    assert_true(briq_ublk_request_has_piece(&write, &limits));
    struct briq_ublk_piece last = briq_ublk_request_take(&write, &limits);
    assert_int_equal(last.flags, BRIQ_OP_FUA);
    assert_true(briq_ublk_request_advance(&write, &last, 0, &answer));
    assert_int_equal(answer, 1 << 20);
}

static void a_failure_waits_for_what_is_under_way(void **state)
{
    (void)state;
    struct briq_ublk_request write = read_desc(UBLK_OP_WRITE, 0, 2048);
    int answer = 0;
    struct briq_ublk_piece a = briq_ublk_request_take(&write, &limits);
    struct briq_ublk_piece b = briq_ublk_request_take(&write, &limits);
    struct briq_ublk_piece c = briq_ublk_request_take(&write, &limits);
    assert_false(briq_ublk_request_advance(&write, &b, -ENOSPC, &answer));
    assert_false(briq_ublk_request_has_piece(&write, &limits));
    assert_false(briq_ublk_request_advance(&write, &a, -EIO, &answer));
    assert_true(briq_ublk_request_advance(&write, &c, 0, &answer));
    assert_int_equal(answer, -ENOSPC);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answers_are_what_a_kernel_understands(void **state)
{
    (void)state;
    assert_int_equal(briq_ublk_answer_of(-ENOSPC), -ENOSPC);
    assert_int_equal(briq_ublk_answer_of(-EOPNOTSUPP), -EOPNOTSUPP);
    assert_int_equal(briq_ublk_answer_of(-EIO), -EIO);
    assert_int_equal(briq_ublk_answer_of(4096), 4096);
    /* -EAGAIN would be asked again for ever, the others mean something else to it. */
    static const int others[] = {-EAGAIN, -EINTR, -EROFS, -EINVAL, -EBADMSG, -EUCLEAN, -ENODEV};
    for (size_t i = 0; i < BRIQ_COUNT_OF(others); i++)
        assert_int_equal(briq_ublk_answer_of(others[i]), -EIO);
}

static void a_tag_is_armed_owned_or_over(void **state)
{
    (void)state;
    int error = 1;
    assert_int_equal(briq_ublk_tag_arrived(UBLK_RES_REQUEST, &error), BRIQ_UBLK_TAG_OWNED);
    assert_int_equal(error, 0);
    assert_int_equal(briq_ublk_tag_arrived(UBLK_RES_ABORT, &error), BRIQ_UBLK_TAG_OVER);
    assert_int_equal(error, 0);
    assert_int_equal(briq_ublk_tag_arrived(-EINVAL, &error), BRIQ_UBLK_TAG_OVER);
    assert_int_equal(error, -EINVAL);
    /* NEED_GET_DATA, which nobody asked for. */
    assert_int_equal(briq_ublk_tag_arrived(1, &error), BRIQ_UBLK_TAG_OVER);
    assert_int_equal(error, -EPROTO);
}

static void places_in_the_character_device(void **state)
{
    (void)state;
    /* Queue 1's descriptors are not behind those of queue 0, but where 4096 would end. */
    assert_int_equal(ublk_desc_offset(0, 4096), 0);
    assert_int_equal(ublk_desc_offset(1, 4096), 98304);
    assert_int_equal(ublk_desc_offset(3, 65536), 3 * 131072);
    assert_int_equal(ublk_desc_bytes(128, 4096), 4096);
    assert_int_equal(ublk_desc_bytes(171, 4096), 8192);
    assert_int_equal(ublk_data_offset(0, 0, 0), UINT64_C(0x80000000));
    assert_int_equal(ublk_data_offset(2, 3, 512),
                     UINT64_C(0x80000000) + (UINT64_C(2) << 41) + (3u << 25) + 512);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_known),
        cmocka_unit_test(unknown_operations_are_refused),
        cmocka_unit_test(ranges_outside_the_device_are_refused),
        cmocka_unit_test(pieces_cover_a_request_exactly),
        cmocka_unit_test(what_has_no_data_is_one_piece),
        cmocka_unit_test(a_failed_piece_ends_its_request),
        cmocka_unit_test(pieces_may_end_in_any_order),
        cmocka_unit_test(the_piece_that_vouches_comes_last),
        cmocka_unit_test(a_failure_waits_for_what_is_under_way),
        cmocka_unit_test(answers_are_what_a_kernel_understands),
        cmocka_unit_test(a_tag_is_armed_owned_or_over),
        cmocka_unit_test(places_in_the_character_device),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("ublk_request", tests, NULL, NULL);
}
