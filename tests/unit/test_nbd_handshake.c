/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_nbd_handshake.c - the haggling phase, byte by byte, without a socket: what each option is
 * answered with, and that no lie about lengths gets further than its own option.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "server/handshake.h"
#include "server/nbd.h"
#include "tests/lib/fixture.h"

/* ---- a catalog of two exports ---------------------------------------------------------------- */

static int held; /* find() without release() */

static int find(void *opaque, const char *name, size_t len, struct briq_nbd_export_info *ret)
{
    (void)opaque;
    *ret = (struct briq_nbd_export_info){
        .name = "disk", .description = "a disk", .size_bytes = 1 << 20, .id = 1, .flags = 0x100};
    if (len == 5 && memcmp(name, "other", 5) == 0) {
        ret->name = "other";
        ret->id = 2;
    } else if (len != 0 && !(len == 4 && memcmp(name, "disk", 4) == 0)) {
        return -ENOENT;
    }
    ret->handle = &held;
    held++;
    return 0;
}

static void release(void *opaque, void *handle)
{
    (void)opaque;
    assert_ptr_equal(handle, &held);
    held--;
}

static void enter(void *opaque, struct briq_nbd_export_info *info)
{
    (void)opaque;
    info->writer = true;
}

static void leave(void *opaque, void *handle, bool writer)
{
    assert_true(writer);
    release(opaque, handle);
}

static void each(void *opaque, void (*emit)(void *, const struct briq_nbd_export_info *),
                 void *emit_opaque)
{
    static const char *const names[] = {"disk", "other"};
    for (size_t i = 0; i < 2; i++) {
        struct briq_nbd_export_info info;
        assert_int_equal(find(opaque, names[i], strlen(names[i]), &info), 0);
        emit(emit_opaque, &info);
        release(opaque, info.handle);
    }
}

static const struct briq_nbd_catalog catalog = {
    .find = find, .release = release, .enter = enter, .leave = leave, .each = each};

/* ---- a client -------------------------------------------------------------------------------- */

#define OPTION_MAX 70000u

struct client {
    struct briq_nbd_handshake hs;
    enum briq_nbd_next next;
    size_t read; /* of hs.out */
};

static void give(struct client *client, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (client->next == NBD_NEXT_HAGGLE) {
        size_t need = briq_nbd_handshake_need(&client->hs);
        assert_true(need <= NBD_OPTION_BYTES_MAX);
        if (need > len)
            break;
        client->next = briq_nbd_handshake_take(&client->hs, p);
        p += need;
        len -= need;
        if (len == 0 && briq_nbd_handshake_need(&client->hs) > 0)
            break;
    }
}

static void connect_with(struct client *client, uint32_t flags)
{
    uint8_t bytes[4];
    *client = (struct client){.next = NBD_NEXT_HAGGLE};
    held = 0;
    briq_nbd_handshake_begin(&client->hs, &catalog);
    assert_int_equal(client->hs.out.len, 18);
    client->hs.out.len = 0;
    nbd_put32(bytes, flags);
    give(client, bytes, sizeof bytes);
}

static void option(struct client *client, uint32_t number, const void *data, size_t len)
{
    static uint8_t bytes[OPTION_MAX];
    uint8_t *p = nbd_put64(bytes, NBD_OPTION_MAGIC);
    p = nbd_put32(p, number);
    p = nbd_put32(p, (uint32_t)len);
    memcpy(p, data, len);
    client->hs.out.len = 0;
    client->read = 0;
    give(client, bytes, 16 + len);
}

/* Takes one reply off; returns its type. */
static uint32_t reply(struct client *client, uint32_t number, const uint8_t **ret,
                      uint32_t *ret_len)
{
    const uint8_t *p = client->hs.out.data + client->read;
    assert_true(client->hs.out.len - client->read >= 20);
    assert_true(nbd_get64(p) == NBD_OPTION_REPLY);
    assert_int_equal(nbd_get32(p + 8), number);
    *ret_len = nbd_get32(p + 16);
    *ret = p + 20;
    client->read += 20 + *ret_len;
    assert_true(client->read <= client->hs.out.len);
    return nbd_get32(p + 12);
}

static uint32_t only_reply(struct client *client, uint32_t number)
{
    const uint8_t *data;
    uint32_t len;
    uint32_t type = reply(client, number, &data, &len);
    assert_int_equal(client->read, client->hs.out.len);
    assert_true(len <= NBD_STRING_MAX);
    return type;
}

static void end(struct client *client)
{
    briq_nbd_handshake_end(&client->hs);
    if (client->next == NBD_NEXT_TRANSMIT)
        held--;
    assert_int_equal(held, 0);
}

#define BOTH (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)

/* "\0\0\0\4disk" and then two info requests or none. */
static const uint8_t go_disk[] = {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0};
static const uint8_t context_disk[] = "\0\0\0\4disk\0\0\0\1\0\0\0\17base:allocation";
#define CONTEXT_DISK_BYTES (sizeof context_disk - 1)

/* ---- tests ----------------------------------------------------------------------------------- */

static void unknown_client_flags_end_the_connection(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        struct client client;
        connect_with(&client, UINT32_C(1) << bit | NBD_FLAG_FIXED_NEWSTYLE);
        assert_int_equal(client.next, bit < 2 ? NBD_NEXT_HAGGLE : NBD_NEXT_DROP);
        end(&client);
    }
}

static void go_opens_the_export(void **state)
{
    (void)state;
    struct client client;
    const uint8_t *data;
    uint32_t len;
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
    assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
    assert_int_equal(reply(&client, NBD_OPT_GO, &data, &len), NBD_REP_INFO);
    assert_int_equal(len, 12);
    assert_int_equal(nbd_get16(data), NBD_INFO_EXPORT);
    assert_int_equal(nbd_get64(data + 2), 1 << 20);
    assert_int_equal(nbd_get16(data + 10), 0x101);
    assert_int_equal(only_reply(&client, NBD_OPT_GO), NBD_REP_ACK);
    assert_false(client.hs.session.structured);
    end(&client);
}

static void every_kind_of_info_is_given_once(void **state)
{
    (void)state;
    struct client client;
    const uint8_t *data;
    uint32_t len;
    /* name, description, block size, name again, one that nobody knows */
    static const uint8_t ask[] = {0, 0, 0, 0, 0, 5, 0, 1, 0, 2, 0, 3, 0, 1, 0x77, 0x77};
    static const uint16_t wanted[] = {NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION,
                                      NBD_INFO_BLOCK_SIZE};
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_INFO, ask, sizeof ask);
    for (size_t i = 0; i < BRIQ_COUNT_OF(wanted); i++) {
        assert_int_equal(reply(&client, NBD_OPT_INFO, &data, &len), NBD_REP_INFO);
        assert_int_equal(nbd_get16(data), wanted[i]);
        if (wanted[i] == NBD_INFO_NAME)
            assert_memory_equal(data + 2, "disk", 4);
    }
    assert_int_equal(only_reply(&client, NBD_OPT_INFO), NBD_REP_ACK);
    assert_int_equal(client.next, NBD_NEXT_HAGGLE);
    end(&client);
}

static void info_and_then_either_way_of_going_on(void **state)
{
    (void)state;
    for (unsigned by_name = 0; by_name < 2; by_name++) {
        struct client client;
        connect_with(&client, by_name ? NBD_FLAG_FIXED_NEWSTYLE : BOTH);
        option(&client, NBD_OPT_INFO, go_disk, sizeof go_disk);
        if (by_name) {
            option(&client, NBD_OPT_EXPORT_NAME, "disk", 4);
            assert_int_equal(client.hs.out.len, 10 + 124);
            assert_int_equal(nbd_get64(client.hs.out.data), 1 << 20);
        } else {
            option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
        }
        assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
        end(&client);
    }
}

static void a_failed_go_can_be_tried_again(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_GO, "\0\0\0\4nope\0", 10);
    assert_int_equal(only_reply(&client, NBD_OPT_GO), NBD_REP_ERR_UNKNOWN);
    option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
    assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
    end(&client);
}

static void the_old_way_of_naming_has_no_error(void **state)
{
    (void)state;
    static char name[5000];
    static const size_t lengths[] = {1, 255, 256, 1024, 4096, 4097, 5000};
    memset(name, 'x', sizeof name);
    for (size_t i = 0; i < BRIQ_COUNT_OF(lengths); i++) {
        struct client client;
        connect_with(&client, BOTH);
        option(&client, NBD_OPT_EXPORT_NAME, name, lengths[i]);
        assert_int_equal(client.next, NBD_NEXT_DROP);
        assert_int_equal(client.hs.out.len, 0);
        end(&client);
    }
}

static void names_of_any_length_are_answered(void **state)
{
    (void)state;
    static uint8_t data[4 + 5000 + 2];
    static const uint32_t lengths[] = {255, 256, 1024, 4096, 4097, 5000};
    for (size_t i = 0; i < BRIQ_COUNT_OF(lengths); i++) {
        struct client client;
        memset(data, 'x', sizeof data);
        nbd_put32(data, lengths[i]);
        nbd_put16(data + 4 + lengths[i], 0);
        connect_with(&client, BOTH);
        option(&client, NBD_OPT_GO, data, 6 + lengths[i]);
        assert_int_equal(only_reply(&client, NBD_OPT_GO),
                         lengths[i] <= 4096 ? NBD_REP_ERR_UNKNOWN : NBD_REP_ERR_INVALID);
        assert_int_equal(client.next, NBD_NEXT_HAGGLE);
        end(&client);
    }
}

static void inner_lengths_that_lie_are_refused(void **state)
{
    (void)state;
    static const uint32_t lies[] = {5,          6,          7,          0x7fffffff, 0x80000000,
                                    0xfffffff0, 0xfffffffa, 0xfffffffc, 0xffffffff};
    static const uint32_t options[] = {NBD_OPT_INFO, NBD_OPT_GO, NBD_OPT_LIST_META_CONTEXT,
                                       NBD_OPT_SET_META_CONTEXT};
    for (size_t o = 0; o < BRIQ_COUNT_OF(options); o++) {
        struct client client;
        connect_with(&client, BOTH);
        option(&client, NBD_OPT_STRUCTURED_REPLY, "", 0);
        for (size_t i = 0; i < BRIQ_COUNT_OF(lies); i++) {
            uint8_t data[CONTEXT_DISK_BYTES];
            size_t len = o < 2 ? sizeof go_disk : CONTEXT_DISK_BYTES;
            memcpy(data, o < 2 ? go_disk : context_disk, len);
            nbd_put32(data, lies[i]);
            option(&client, options[o], data, len);
            assert_int_equal(only_reply(&client, options[o]), NBD_REP_ERR_INVALID);
            if (o < 2)
                continue;
            memcpy(data, context_disk, len);
            nbd_put32(data + 8, lies[i]); /* so many queries */
            option(&client, options[o], data, len);
            assert_int_equal(only_reply(&client, options[o]), NBD_REP_ERR_INVALID);
        }
        assert_int_equal(client.next, NBD_NEXT_HAGGLE);
        end(&client);
    }
}

static void a_payload_where_none_belongs_is_refused(void **state)
{
    (void)state;
    static const uint32_t options[] = {NBD_OPT_LIST, NBD_OPT_STARTTLS, NBD_OPT_STRUCTURED_REPLY,
                                       NBD_OPT_EXTENDED_HEADERS};
    for (size_t i = 0; i < BRIQ_COUNT_OF(options); i++) {
        struct client client;
        connect_with(&client, BOTH);
        option(&client, options[i], "x", 1);
        assert_int_equal(only_reply(&client, options[i]), NBD_REP_ERR_INVALID);
        assert_false(client.hs.session.structured);
        end(&client);
    }
}

static void unknown_options_are_passed_over_with_their_payload(void **state)
{
    (void)state;
    static const uint32_t options[] = {0, 4, 12, 4711, 0xffffffff};
    for (size_t i = 0; i < BRIQ_COUNT_OF(options); i++) {
        struct client client;
        connect_with(&client, BOTH);
        option(&client, options[i], go_disk, sizeof go_disk);
        assert_int_equal(only_reply(&client, options[i]), NBD_REP_ERR_UNSUP);
        option(&client, NBD_OPT_STARTTLS, "", 0);
        assert_int_equal(only_reply(&client, NBD_OPT_STARTTLS), NBD_REP_ERR_UNSUP);
        option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
        assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
        end(&client);
    }
}

static void a_huge_option_is_not_waited_for(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {NBD_OPTION_BYTES_MAX + 1, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < BRIQ_COUNT_OF(lengths); i++) {
        struct client client;
        uint8_t header[16];
        nbd_put32(nbd_put32(nbd_put64(header, NBD_OPTION_MAGIC), 4711), lengths[i]);
        connect_with(&client, BOTH);
        give(&client, header, sizeof header);
        assert_int_equal(client.next, NBD_NEXT_CLOSE);
        assert_int_equal(only_reply(&client, 4711), NBD_REP_ERR_TOO_BIG);
        end(&client);
    }
}

static void options_without_end_end_the_connection(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    unsigned count = 0;
    for (; client.next == NBD_NEXT_HAGGLE; count++)
        option(&client, NBD_OPT_LIST, "", 0);
    assert_int_equal(client.next, NBD_NEXT_DROP);
    assert_int_equal(count, NBD_OPTIONS_MAX + 1);
    end(&client);
}

static void exports_are_listed(void **state)
{
    (void)state;
    struct client client;
    const uint8_t *data;
    uint32_t len;
    static const char *const names[] = {"disk", "other"};
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_LIST, "", 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(reply(&client, NBD_OPT_LIST, &data, &len), NBD_REP_SERVER);
        assert_int_equal(nbd_get32(data), strlen(names[i]));
        assert_memory_equal(data + 4, names[i], strlen(names[i]));
        assert_int_equal(len, 4 + strlen(names[i]) + strlen("a disk"));
    }
    assert_int_equal(only_reply(&client, NBD_OPT_LIST), NBD_REP_ACK);
    end(&client);
}

static void contexts_need_structured_replies_and_their_own_export(void **state)
{
    (void)state;
    struct client client;
    const uint8_t *data;
    uint32_t len;
    static const uint8_t go_other[] = "\0\0\0\5other\0";
    for (unsigned other = 0; other < 2; other++) {
        connect_with(&client, BOTH);
        option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
        assert_int_equal(only_reply(&client, NBD_OPT_SET_META_CONTEXT), NBD_REP_ERR_INVALID);
        option(&client, NBD_OPT_STRUCTURED_REPLY, "", 0);
        assert_int_equal(only_reply(&client, NBD_OPT_STRUCTURED_REPLY), NBD_REP_ACK);
        option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
        assert_int_equal(reply(&client, NBD_OPT_SET_META_CONTEXT, &data, &len),
                         NBD_REP_META_CONTEXT);
        assert_int_equal(nbd_get32(data), NBD_CONTEXT_ID);
        assert_int_equal(only_reply(&client, NBD_OPT_SET_META_CONTEXT), NBD_REP_ACK);
        option(&client, NBD_OPT_GO, other ? go_other : go_disk,
               other ? sizeof go_other : sizeof go_disk);
        assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
        assert_int_equal(client.hs.session.allocation, !other);
        assert_true((client.hs.session.flags & NBD_FLAG_SEND_DF) != 0);
        end(&client);
    }
}

static void a_later_choice_of_contexts_replaces_the_first_even_if_it_fails(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
    assert_true(client.hs.session.allocation);
    option(&client, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4nope\0\0\0\0", 12);
    assert_int_equal(only_reply(&client, NBD_OPT_SET_META_CONTEXT), NBD_REP_ERR_UNKNOWN);
    assert_false(client.hs.session.allocation);
    /* "base:" chooses nothing, and lists everything. */
    option(&client, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk\0\0\0\1\0\0\0\5base:", 21);
    assert_int_equal(only_reply(&client, NBD_OPT_SET_META_CONTEXT), NBD_REP_ACK);
    option(&client, NBD_OPT_LIST_META_CONTEXT, "\0\0\0\4disk\0\0\0\1\0\0\0\5base:", 21);
    assert_int_equal(client.hs.out.len, 20 + 4 + 15 + 20);
    end(&client);
}

static void extended_headers_come_before_everything(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_EXTENDED_HEADERS, "", 0);
    assert_int_equal(only_reply(&client, NBD_OPT_EXTENDED_HEADERS), NBD_REP_ACK);
    option(&client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    assert_int_equal(only_reply(&client, NBD_OPT_STRUCTURED_REPLY), NBD_REP_ERR_EXT_HEADER_REQ);
    option(&client, NBD_OPT_EXPORT_NAME, "disk", 4);
    assert_int_equal(client.next, NBD_NEXT_DROP);
    end(&client);
}

/* What INFO says of an export. */
static uint16_t flags_told(struct client *client, const uint8_t *name, size_t len)
{
    const uint8_t *data;
    uint32_t data_len;
    option(client, NBD_OPT_INFO, name, len);
    assert_int_equal(reply(client, NBD_OPT_INFO, &data, &data_len), NBD_REP_INFO);
    assert_int_equal(nbd_get16(data), NBD_INFO_EXPORT);
    return nbd_get16(data + 10);
}

static void lists_of_contexts_are_offered_where_there_is_a_context(void **state)
{
    (void)state;
    struct client client;
    static const uint8_t info_other[] = "\0\0\0\5other\0";
    for (unsigned extended = 0; extended < 2; extended++) {
        unsigned how = extended ? NBD_OPT_EXTENDED_HEADERS : NBD_OPT_STRUCTURED_REPLY;
        unsigned offered = extended ? NBD_FLAG_BLOCK_STAT_PAYLOAD : 0;
        connect_with(&client, BOTH);
        option(&client, how, "", 0);
        assert_int_equal(flags_told(&client, go_disk, sizeof go_disk) & NBD_FLAG_BLOCK_STAT_PAYLOAD,
                         0);
        option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
        assert_int_equal(flags_told(&client, go_disk, sizeof go_disk) & NBD_FLAG_BLOCK_STAT_PAYLOAD,
                         offered);
        assert_int_equal(
            flags_told(&client, info_other, sizeof info_other) & NBD_FLAG_BLOCK_STAT_PAYLOAD, 0);
        option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
        assert_int_equal(client.hs.session.flags & NBD_FLAG_BLOCK_STAT_PAYLOAD, offered);
        end(&client);
    }
}

static void tls_forgets_what_was_agreed_on(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    client.hs.tls_offered = true;
    option(&client, NBD_OPT_STRUCTURED_REPLY, "", 0);
    option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
    assert_true(client.hs.session.structured && client.hs.session.allocation);
    option(&client, NBD_OPT_STARTTLS, "", 0);
    assert_int_equal(client.next, NBD_NEXT_SECURE);
    assert_int_equal(only_reply(&client, NBD_OPT_STARTTLS), NBD_REP_ACK);
    client.next = NBD_NEXT_HAGGLE;
    assert_false(client.hs.session.structured || client.hs.session.allocation);
    option(&client, NBD_OPT_SET_META_CONTEXT, context_disk, CONTEXT_DISK_BYTES);
    assert_int_equal(only_reply(&client, NBD_OPT_SET_META_CONTEXT), NBD_REP_ERR_INVALID);
    option(&client, NBD_OPT_STARTTLS, "", 0);
    assert_int_equal(client.next, NBD_NEXT_HAGGLE);
    assert_int_equal(only_reply(&client, NBD_OPT_STARTTLS), NBD_REP_ERR_INVALID);
    option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
    assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
    end(&client);
}

static void nothing_goes_without_tls_where_it_is_required(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    client.hs.tls_offered = client.hs.tls_required = true;
    for (uint32_t number = 3; number < 20; number++) {
        if (number == NBD_OPT_STARTTLS)
            continue;
        option(&client, number, go_disk, sizeof go_disk);
        assert_int_equal(client.next, NBD_NEXT_HAGGLE);
        assert_int_equal(only_reply(&client, number), NBD_REP_ERR_TLS_REQD);
    }
    option(&client, NBD_OPT_STARTTLS, "", 0);
    assert_int_equal(client.next, NBD_NEXT_SECURE);
    client.next = NBD_NEXT_HAGGLE;
    option(&client, NBD_OPT_LIST, "", 0);
    const uint8_t *data;
    uint32_t len;
    assert_int_equal(reply(&client, NBD_OPT_LIST, &data, &len), NBD_REP_SERVER);
    end(&client);

    connect_with(&client, BOTH);
    client.hs.tls_offered = client.hs.tls_required = true;
    option(&client, NBD_OPT_EXPORT_NAME, "disk", 4);
    assert_int_equal(client.next, NBD_NEXT_DROP);
    end(&client);

    connect_with(&client, BOTH);
    client.hs.tls_offered = client.hs.tls_required = true;
    option(&client, NBD_OPT_ABORT, "", 0);
    assert_int_equal(client.next, NBD_NEXT_CLOSE);
    assert_int_equal(only_reply(&client, NBD_OPT_ABORT), NBD_REP_ACK);
    end(&client);
}

static void tls_takes_the_fixed_newstyle(void **state)
{
    (void)state;
    struct client client;
    static const uint32_t flags[] = {0, NBD_FLAG_NO_ZEROES};
    for (size_t i = 0; i < BRIQ_COUNT_OF(flags); i++) {
        connect_with(&client, flags[i]);
        client.hs.tls_offered = true;
        option(&client, NBD_OPT_STARTTLS, "", 0);
        assert_int_equal(only_reply(&client, NBD_OPT_STARTTLS), NBD_REP_ERR_POLICY);
        option(&client, NBD_OPT_EXPORT_NAME, "disk", 4);
        assert_int_equal(client.next, NBD_NEXT_TRANSMIT);
        end(&client);

        connect_with(&client, flags[i]);
        client.hs.tls_offered = client.hs.tls_required = true;
        option(&client, NBD_OPT_GO, go_disk, sizeof go_disk);
        assert_int_equal(client.next, NBD_NEXT_DROP);
        assert_int_equal(client.hs.out.len, 0);
        end(&client);
    }
}

static void abort_is_acknowledged(void **state)
{
    (void)state;
    struct client client;
    connect_with(&client, BOTH);
    option(&client, NBD_OPT_ABORT, "why", 3);
    assert_int_equal(client.next, NBD_NEXT_CLOSE);
    assert_int_equal(only_reply(&client, NBD_OPT_ABORT), NBD_REP_ACK);
    end(&client);
}

/* A random walk through options with payloads that are nearly right. */
static void no_order_of_options_confuses_it(void **state)
{
    struct briq_prng *prng = *state;
    for (unsigned round = 0; round < 3000; round++) {
        struct client client;
        connect_with(&client, BOTH);
        for (unsigned i = 0; i < 20 && client.next == NBD_NEXT_HAGGLE; i++) {
            uint8_t data[CONTEXT_DISK_BYTES];
            uint32_t number = (uint32_t)briq_prng_below(prng, 13);
            bool context =
                number == NBD_OPT_LIST_META_CONTEXT || number == NBD_OPT_SET_META_CONTEXT;
            size_t len = context ? CONTEXT_DISK_BYTES : sizeof go_disk;
            memcpy(data, context ? context_disk : go_disk, len);
            if (briq_prng_below(prng, 3) == 0)
                data[briq_prng_below(prng, len)] ^= (uint8_t)(1u << briq_prng_below(prng, 8));
            if (briq_prng_below(prng, 3) == 0)
                len = briq_prng_below(prng, len + 1);
            option(&client, number, data, len);
        }
        end(&client);
    }
}

int main(void)
{
    struct briq_prng prng = {test_seed("test_nbd_handshake")};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_client_flags_end_the_connection),
        cmocka_unit_test(go_opens_the_export),
        cmocka_unit_test(every_kind_of_info_is_given_once),
        cmocka_unit_test(info_and_then_either_way_of_going_on),
        cmocka_unit_test(a_failed_go_can_be_tried_again),
        cmocka_unit_test(the_old_way_of_naming_has_no_error),
        cmocka_unit_test(names_of_any_length_are_answered),
        cmocka_unit_test(inner_lengths_that_lie_are_refused),
        cmocka_unit_test(a_payload_where_none_belongs_is_refused),
        cmocka_unit_test(unknown_options_are_passed_over_with_their_payload),
        cmocka_unit_test(a_huge_option_is_not_waited_for),
        cmocka_unit_test(options_without_end_end_the_connection),
        cmocka_unit_test(exports_are_listed),
        cmocka_unit_test(contexts_need_structured_replies_and_their_own_export),
        cmocka_unit_test(a_later_choice_of_contexts_replaces_the_first_even_if_it_fails),
        cmocka_unit_test(extended_headers_come_before_everything),
        cmocka_unit_test(lists_of_contexts_are_offered_where_there_is_a_context),
        cmocka_unit_test(tls_forgets_what_was_agreed_on),
        cmocka_unit_test(nothing_goes_without_tls_where_it_is_required),
        cmocka_unit_test(tls_takes_the_fixed_newstyle),
        cmocka_unit_test(abort_is_acknowledged),
        cmocka_unit_test_prestate(no_order_of_options_confuses_it, &prng),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
