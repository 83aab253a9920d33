/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_nbd_request.c - requests and replies of the transmission phase as bytes: which are allowed,
 * with which error others are answered, and that replies are what the specification's tables say.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/limits.h"
#include "server/nbd.h"
#include "server/reply.h"
#include "server/request.h"

#define MIB  (UINT64_C(1) << 20)
#define SIZE (3 * MIB + 512)

static const struct briq_nbd_session simple = {.flags = NBD_FLAG_HAS_FLAGS};
static const struct briq_nbd_session structured = {
    .flags = NBD_FLAG_HAS_FLAGS, .structured = true, .allocation = true};
static const struct briq_nbd_session extended = {
    .flags = NBD_FLAG_HAS_FLAGS, .structured = true, .extended = true, .allocation = true};
static const struct briq_nbd_session read_only = {.flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY,
                                                  .structured = true};

static int check(const struct briq_nbd_session *session, uint16_t type, uint16_t flags,
                 uint64_t off, uint64_t len)
{
    const char *why = NULL;
    const struct briq_nbd_request request = {.type = type, .flags = flags, .off = off, .len = len};
    int r = briq_nbd_request_check(session, &request, SIZE, &why);
    assert_true((r < 0) == (why != NULL));
    return r;
}

static void ranges_end_where_the_export_does(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        int beyond;
    } kinds[] = {{NBD_CMD_READ, -EINVAL},         {NBD_CMD_WRITE, -ENOSPC},
                 {NBD_CMD_TRIM, -EINVAL},         {NBD_CMD_WRITE_ZEROES, -ENOSPC},
                 {NBD_CMD_BLOCK_STATUS, -EINVAL}, {NBD_CMD_CACHE, -EINVAL}};
    static const uint64_t far[] = {SIZE + 1, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < BRIQ_COUNT_OF(kinds); i++) {
        uint16_t type = kinds[i].type;
        assert_int_equal(check(&structured, type, 0, 0, SIZE), 0);
        assert_int_equal(check(&structured, type, 0, SIZE - 1, 1), 0);
        assert_int_equal(check(&structured, type, 0, SIZE, 0), 0);
        assert_int_equal(check(&structured, type, 0, SIZE - 1, 2), kinds[i].beyond);
        assert_int_equal(check(&structured, type, 0, 1, SIZE), kinds[i].beyond);
        for (size_t f = 0; f < BRIQ_COUNT_OF(far); f++) {
            assert_int_equal(check(&structured, type, 0, far[f], 1), kinds[i].beyond);
            assert_int_equal(check(&structured, type, 0, far[f], 0), kinds[i].beyond);
        }
    }
    for (uint64_t len = 0; len <= UINT32_MAX; len += UINT32_MAX / 3)
        assert_int_equal(check(&structured, NBD_CMD_TRIM, 0, 512, len),
                         len <= SIZE - 512 ? 0 : -EINVAL);
}

static void each_command_has_its_flags(void **state)
{
    (void)state;
    static const struct {
        const struct briq_nbd_session *session;
        uint16_t type, flags;
    } kinds[] = {
        {&simple, NBD_CMD_READ, NBD_CMD_FLAG_FUA},
        {&structured, NBD_CMD_READ, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF},
        {&structured, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA},
        {&extended, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_PAYLOAD_LEN},
        {&structured, NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA},
        {&structured, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA},
        {&structured, NBD_CMD_CACHE, NBD_CMD_FLAG_FUA},
        {&structured, NBD_CMD_WRITE_ZEROES,
         NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO},
        {&structured, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(kinds); i++) {
        for (unsigned bit = 0; bit < 16; bit++) {
            uint16_t flag = (uint16_t)(1u << bit);
            assert_int_equal(check(kinds[i].session, kinds[i].type, flag, 0, 0),
                             (kinds[i].flags & flag) != 0 ? 0 : -EINVAL);
        }
    }
}

static void what_an_export_does_not_offer_is_refused(void **state)
{
    (void)state;
    assert_int_equal(check(&read_only, NBD_CMD_READ, 0, 0, 1), 0);
    assert_int_equal(check(&read_only, NBD_CMD_WRITE, 0, 0, 1), -EROFS);
    assert_int_equal(check(&read_only, NBD_CMD_TRIM, 0, 0, 1), -EROFS);
    assert_int_equal(check(&read_only, NBD_CMD_WRITE_ZEROES, 0, 0, 1), -EROFS);
    assert_int_equal(check(&read_only, NBD_CMD_BLOCK_STATUS, 0, 0, 1), -EINVAL); /* no context */
    assert_int_equal(check(&structured, NBD_CMD_FLUSH, 0, 1, 0), -EINVAL);
    assert_int_equal(check(&structured, NBD_CMD_FLUSH, 0, 0, 1), -EINVAL);
    for (unsigned type = NBD_CMD_BLOCK_STATUS + 1; type <= UINT16_MAX; type++)
        assert_int_equal(check(&structured, (uint16_t)type, 0, 0, 0), -EINVAL);
    const char *why;
    struct briq_nbd_request large = {.type = NBD_CMD_READ, .len = (uint64_t)NBD_PAYLOAD_MAX + 1};
    assert_int_equal(briq_nbd_request_check(&structured, &large, UINT64_MAX, &why), -EINVAL);
    large.type = NBD_CMD_WRITE_ZEROES;
    assert_int_equal(briq_nbd_request_check(&structured, &large, UINT64_MAX, &why), 0);
}

static void a_reply_in_one_piece_is_no_larger_than_was_told(void **state)
{
    (void)state;
    static const struct briq_nbd_session *const sessions[] = {&structured, &extended};
    static const uint64_t large[] = {NBD_PAYLOAD_ADVERTISED + 1, NBD_PAYLOAD_MAX,
                                     (uint64_t)NBD_PAYLOAD_MAX + 1, UINT32_MAX};
    for (size_t s = 0; s < BRIQ_COUNT_OF(sessions); s++) {
        const char *why;
        struct briq_nbd_request whole = {
            .type = NBD_CMD_READ, .flags = NBD_CMD_FLAG_DF, .len = NBD_PAYLOAD_ADVERTISED};
        assert_int_equal(briq_nbd_request_check(sessions[s], &whole, UINT64_MAX, &why), 0);
        for (size_t i = 0; i < BRIQ_COUNT_OF(large); i++) {
            whole.len = large[i];
            assert_int_equal(briq_nbd_request_check(sessions[s], &whole, UINT64_MAX, &why),
                             -EOVERFLOW);
        }
    }
}

static size_t encode(const struct briq_nbd_session *session, uint16_t flags, uint16_t type,
                     uint64_t len, uint8_t bytes[32])
{
    uint8_t *p = nbd_put32(bytes, session->extended ? 0x21e41c71 : 0x25609513);
    p = nbd_put16(p, flags);
    p = nbd_put16(p, type);
    p = nbd_put64(p, 0x1122334455667788);
    p = nbd_put64(p, 0x99);
    p = session->extended ? nbd_put64(p, len) : nbd_put32(p, (uint32_t)len);
    return (size_t)(p - bytes);
}

static void headers_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const struct briq_nbd_session *session;
        uint16_t flags, type;
        uint64_t len, payload;
    } cases[] = {
        {&simple, 0, NBD_CMD_READ, 4096, 0},
        {&simple, 0, NBD_CMD_WRITE, UINT32_MAX, UINT32_MAX},
        {&structured, NBD_CMD_FLAG_PAYLOAD_LEN, NBD_CMD_TRIM, 10, 0}, /* means nothing there */
        {&extended, NBD_CMD_FLAG_PAYLOAD_LEN, NBD_CMD_TRIM, 10, 10},
        {&extended, NBD_CMD_FLAG_PAYLOAD_LEN, NBD_CMD_WRITE, UINT64_MAX, UINT64_MAX},
        {&extended, 0, NBD_CMD_WRITE, 5, 5},
        {&extended, 0, NBD_CMD_WRITE_ZEROES, UINT64_C(1) << 40, 0},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++) {
        struct briq_nbd_request request;
        uint8_t bytes[32];
        size_t n = encode(cases[i].session, cases[i].flags, cases[i].type, cases[i].len, bytes);
        assert_int_equal(n, briq_nbd_request_bytes(cases[i].session));
        assert_int_equal(briq_nbd_request_decode(cases[i].session, bytes, &request), 0);
        assert_true(request.cookie == 0x1122334455667788 && request.off == 0x99);
        assert_true(request.len == cases[i].len && request.payload == cases[i].payload);
        assert_true(request.flags == cases[i].flags && request.type == cases[i].type);
        for (unsigned bit = 0; bit < 32; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(briq_nbd_request_decode(cases[i].session, bytes, &request), -EBADMSG);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void a_list_of_contexts_is_taken_as_it_is(void **state)
{
    (void)state;
    uint8_t bytes[16];
    bool wanted = true;
    const char *why;
    struct briq_nbd_request request = {
        .type = NBD_CMD_BLOCK_STATUS, .flags = NBD_CMD_FLAG_PAYLOAD_LEN, .len = 12, .payload = 12};
    assert_int_equal(briq_nbd_request_check(&extended, &request, SIZE, &why), 0);
    nbd_put32(nbd_put64(bytes, 777), NBD_CONTEXT_ID);
    assert_int_equal(briq_nbd_request_status_payload(&request, bytes, &wanted), 0);
    assert_true(wanted && request.len == 777);

    nbd_put32(bytes + 8, NBD_CONTEXT_ID + 1);
    assert_int_equal(briq_nbd_request_status_payload(&request, bytes, &wanted), -EINVAL);
    request.payload = 8;
    assert_int_equal(briq_nbd_request_status_payload(&request, bytes, &wanted), 0);
    assert_false(wanted);

    request.payload = 16; /* the same one twice */
    nbd_put32(nbd_put32(bytes + 8, NBD_CONTEXT_ID), NBD_CONTEXT_ID);
    assert_int_equal(briq_nbd_request_status_payload(&request, bytes, &wanted), -EINVAL);

    static const uint64_t bad[] = {1, 7, 9, 11, NBD_STATUS_PAYLOAD_MAX + 4, UINT64_MAX};
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad); i++) {
        request.payload = bad[i];
        assert_int_equal(briq_nbd_request_check(&extended, &request, SIZE, &why), -EINVAL);
    }
}

/* ---- replies --------------------------------------------------------------------------------- */

static const struct briq_nbd_request request = {.cookie = 0x0102030405060708, .off = 0x1000};

static void assert_bytes(const uint8_t *got, size_t got_len, const char *hex)
{
    char text[512];
    assert_true(2 * got_len < sizeof text);
    for (size_t i = 0; i < got_len; i++)
        snprintf(text + 2 * i, 3, "%02x", got[i]);
    assert_string_equal(text, hex);
}

static void replies_are_what_the_specification_says(void **state)
{
    (void)state;
    uint8_t p[512];
    assert_bytes(p, briq_nbd_reply_done(&simple, &request, false, p),
                 "67446698"
                 "00000000"
                 "0102030405060708");
    assert_bytes(p, briq_nbd_reply_done(&structured, &request, true, p),
                 "668e33ef"
                 "0001"
                 "0000"
                 "0102030405060708"
                 "00000000");
    assert_bytes(p, briq_nbd_reply_done(&extended, &request, false, p),
                 "6e8a278c"
                 "0001"
                 "0000"
                 "0102030405060708"
                 "0000000000001000"
                 "0000000000000000");
    assert_bytes(p, briq_nbd_reply_error(&simple, &request, -EIO, "why", p),
                 "67446698"
                 "00000005"
                 "0102030405060708");
    assert_bytes(p, briq_nbd_reply_error(&structured, &request, -ENOSPC, "why", p),
                 "668e33ef"
                 "0001"
                 "8001"
                 "0102030405060708"
                 "00000009"
                 "0000001c"
                 "0003"
                 "776879");
    assert_bytes(p, briq_nbd_reply_data(&structured, &request, 0x2000, 16, false, p),
                 "668e33ef"
                 "0000"
                 "0001"
                 "0102030405060708"
                 "00000018"
                 "0000000000002000");
    assert_bytes(p, briq_nbd_reply_data(&simple, &request, 0x1000, 16, true, p),
                 "67446698"
                 "00000000"
                 "0102030405060708");
    assert_bytes(p, briq_nbd_reply_hole(&structured, &request, 0x2000, 16, true, p),
                 "668e33ef"
                 "0001"
                 "0002"
                 "0102030405060708"
                 "0000000c"
                 "0000000000002000"
                 "00000010");
}

static void extents_become_their_reply_in_place(void **state)
{
    (void)state;
    _Alignas(struct briq_extent) uint8_t p[NBD_STATUS_HEAD + 3 * sizeof(struct briq_extent)];
    for (unsigned wide = 0; wide < 2; wide++) {
        const struct briq_extent found[] = {
            {0x1000, BRIQ_EXTENT_DATA}, {0x2000, BRIQ_EXTENT_ZERO}, {0x3000, BRIQ_EXTENT_HOLE}};
        struct briq_extent *extents = (struct briq_extent *)(p + NBD_STATUS_HEAD);
        memcpy(extents, found, sizeof found);
        size_t n = briq_nbd_reply_status(wide ? &extended : &structured, &request, extents, 3, p);
        if (wide)
            assert_bytes(p, n,
                         "6e8a278c"
                         "0001"
                         "0006"
                         "0102030405060708"
                         "0000000000001000"
                         "0000000000000038"
                         "00000001"
                         "00000003"
                         "0000000000001000"
                         "0000000000000000"
                         "0000000000002000"
                         "0000000000000002"
                         "0000000000003000"
                         "0000000000000003");
        else
            assert_bytes(p, n,
                         "668e33ef"
                         "0001"
                         "0005"
                         "0102030405060708"
                         "0000001c"
                         "00000001"
                         "00001000"
                         "00000000"
                         "00002000"
                         "00000002"
                         "00003000"
                         "00000003");
    }
}

static void error_texts_are_clipped(void **state)
{
    (void)state;
    char text[5000];
    uint8_t p[NBD_REPLY_SMALL_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(briq_nbd_reply_error(&extended, &request, -EIO, text, p),
                     32 + 6 + NBD_REPLY_TEXT_MAX);
    assert_true(32 + 6 + NBD_REPLY_TEXT_MAX <= sizeof p);
}

static void only_errors_of_the_protocol_go_out(void **state)
{
    (void)state;
    static const uint32_t known[] = {NBD_EPERM,  NBD_EIO,       NBD_ENOMEM,  NBD_EINVAL,
                                     NBD_ENOSPC, NBD_EOVERFLOW, NBD_ENOTSUP, NBD_ESHUTDOWN};
    for (int error = 1; error < 200; error++) {
        uint32_t wire = briq_nbd_wire_error(-error);
        bool found = false;
        for (size_t i = 0; i < BRIQ_COUNT_OF(known); i++)
            found = found || known[i] == wire;
        assert_true(found);
    }
    assert_int_equal(briq_nbd_wire_error(-EROFS), NBD_EPERM);
    assert_int_equal(briq_nbd_wire_error(-EBADMSG), NBD_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_end_where_the_export_does),
        cmocka_unit_test(each_command_has_its_flags),
        cmocka_unit_test(what_an_export_does_not_offer_is_refused),
        cmocka_unit_test(a_reply_in_one_piece_is_no_larger_than_was_told),
        cmocka_unit_test(headers_are_decoded),
        cmocka_unit_test(a_list_of_contexts_is_taken_as_it_is),
        cmocka_unit_test(replies_are_what_the_specification_says),
        cmocka_unit_test(extents_become_their_reply_in_place),
        cmocka_unit_test(error_texts_are_clipped),
        cmocka_unit_test(only_errors_of_the_protocol_go_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
