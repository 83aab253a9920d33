/* SPDX-License-Identifier: BSD-3-Clause */
/* test_linear.c - the judge of overlapping operations: it must accept what may happen, and no more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/store/store.h"
#include "tests/lib/linear.h"

struct fixture {
    uint8_t bytes[TEST_BLOCK_BYTES];
    struct test_block block;
    uint8_t as[TEST_BLOCK_BYTES], bs[TEST_BLOCK_BYTES];
};

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    memset(f->as, 'a', sizeof f->as);
    memset(f->bs, 'b', sizeof f->bs);
    f->block = (struct test_block){.bytes = f->bytes, .types = 1u << BRIQ_EXTENT_HOLE};
}

static struct test_effect effect(enum test_effect_kind kind, const uint8_t *data, uint64_t begin,
                                 uint64_t end)
{
    return (struct test_effect){.kind = kind,
                                .lo = 0,
                                .hi = TEST_BLOCK_BYTES,
                                .valid = TEST_BLOCK_BYTES,
                                .begin = begin,
                                .end = end,
                                .data = data};
}

static void a_read_after_two_racing_writes_sees_one_of_them(void **state)
{
    (void)state;
    struct fixture f;
    for (int last = 0; last < 2; last++) {
        set_up(&f);
        struct test_effect effects[] = {
            effect(TEST_EFFECT_WRITE, f.as, 1, 4),
            effect(TEST_EFFECT_WRITE, f.bs, 2, 3),
            effect(TEST_EFFECT_READ, last ? f.as : f.bs, 5, 6),
        };
        assert_true(test_linear_solve(effects, 3, &f.block));
        assert_int_equal(f.bytes[7], last ? 'a' : 'b');
        assert_int_equal(f.block.types, 1u << BRIQ_EXTENT_DATA);
    }
}

static void a_write_that_ended_before_another_began_cannot_win(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    struct test_effect effects[] = {
        effect(TEST_EFFECT_WRITE, f.as, 1, 2),
        effect(TEST_EFFECT_WRITE, f.bs, 3, 4),
        effect(TEST_EFFECT_READ, f.as, 5, 6),
    };
    assert_false(test_linear_solve(effects, 3, &f.block));
}

static void an_acknowledged_write_is_seen(void **state)
{
    (void)state;
    struct fixture f;
    static const uint8_t zeros[TEST_BLOCK_BYTES];
    set_up(&f);
    struct test_effect effects[] = {
        effect(TEST_EFFECT_WRITE, f.as, 1, 2),
        effect(TEST_EFFECT_READ, zeros, 3, 4),
    };
    assert_false(test_linear_solve(effects, 2, &f.block));
    effects[0].optional = true;
    assert_true(test_linear_solve(effects, 2, &f.block));
}

static void a_torn_block_is_found_out(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t torn[TEST_BLOCK_BYTES];
    set_up(&f);
    memset(torn, 'a', sizeof torn);
    memset(torn + 2048, 'b', sizeof torn - 2048);
    struct test_effect effects[] = {
        effect(TEST_EFFECT_WRITE, f.as, 1, 4),
        effect(TEST_EFFECT_WRITE, f.bs, 2, 3),
        effect(TEST_EFFECT_READ, torn, 5, 6),
    };
    assert_false(test_linear_solve(effects, 3, &f.block));
}

static void racing_writes_of_different_bytes_lose_nothing(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t both[TEST_BLOCK_BYTES];
    set_up(&f);
    memset(both, 'a', sizeof both);
    memset(both + 512, 'b', 512);
    struct test_effect effects[] = {
        effect(TEST_EFFECT_WRITE, f.as, 1, 2),
        effect(TEST_EFFECT_WRITE, f.bs, 3, 9),
        effect(TEST_EFFECT_WRITE, f.as, 4, 8),
        effect(TEST_EFFECT_READ, both, 10, 11),
    };
    effects[1].lo = 512;
    effects[1].hi = 1024;
    effects[2].lo = 100;
    effects[2].hi = 500;
    assert_true(test_linear_solve(effects, 4, &f.block));
    memset(both + 512, 'a', 512); /* the middle write is lost */
    set_up(&f);
    effects[3].data = both;
    assert_false(test_linear_solve(effects, 4, &f.block));
}

static void reads_cannot_go_back_in_time(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    memcpy(f.bytes, f.as, sizeof f.bytes);
    struct test_effect effects[] = {
        effect(TEST_EFFECT_WRITE, f.bs, 1, 9),
        effect(TEST_EFFECT_READ, f.bs, 2, 3),
        effect(TEST_EFFECT_READ, f.as, 4, 5),
    };
    assert_false(test_linear_solve(effects, 3, &f.block));
}

static void types_follow_trims_zeroes_and_writes(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    struct test_effect write = effect(TEST_EFFECT_WRITE, f.as, 1, 2);
    test_effect_apply(&write, &f.block);
    assert_int_equal(f.block.types, 1u << BRIQ_EXTENT_DATA);
    struct test_effect zero = effect(TEST_EFFECT_ZERO, NULL, 3, 4);
    test_effect_apply(&zero, &f.block);
    assert_int_equal(f.block.types, 1u << BRIQ_EXTENT_ZERO);
    struct test_effect trim = effect(TEST_EFFECT_TRIM, NULL, 5, 6);
    trim.hi = 4095;
    test_effect_apply(&trim, &f.block);
    assert_int_equal(f.block.types, 1u << BRIQ_EXTENT_ZERO);
    trim.hi = 4096;
    test_effect_apply(&trim, &f.block);
    assert_int_equal(f.block.types, 1u << BRIQ_EXTENT_HOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_after_two_racing_writes_sees_one_of_them),
        cmocka_unit_test(a_write_that_ended_before_another_began_cannot_win),
        cmocka_unit_test(an_acknowledged_write_is_seen),
        cmocka_unit_test(a_torn_block_is_found_out),
        cmocka_unit_test(racing_writes_of_different_bytes_lose_nothing),
        cmocka_unit_test(reads_cannot_go_back_in_time),
        cmocka_unit_test(types_follow_trims_zeroes_and_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
