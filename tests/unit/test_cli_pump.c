/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_cli_pump.c - the pump copies exactly what is there, with any number of threads, from sources
 * with holes and from streams, into sinks that read as zeros, that hold old data, or that want
 * everything in order; and it ends with the first error, or when it is cancelled.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/pump.h"
#include "cli/zeros.h"
#include "common/base/align.h"
#include "common/base/prng.h"

#define SIZE        ((5u << 20) + 12345)
#define OLD_CONTENT 0xee
#define NEVER       UINT64_MAX

struct memory_source {
    struct briq_source base;
    unsigned char *data;
    size_t pos;                      /* of a stream */
    uint64_t extent_max;             /* says so much at once */
    atomic_uint_fast64_t calls_left; /* before a read fails */
    atomic_uint_fast64_t read_bytes;
};

struct memory_sink {
    struct briq_sink base;
    unsigned char *data;
    uint64_t size;                   /* set by grow */
    uint64_t next;                   /* an ordered sink expects this offset */
    atomic_uint_fast64_t calls_left; /* before a write fails */
    bool cancels;                    /* raises SIGTERM at the first write */
};

static uint64_t seed;

static struct memory_source *source_of(struct briq_source *source)
{
    return BRIQ_CONTAINER_OF(source, struct memory_source, base);
}

static struct memory_sink *sink_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct memory_sink, base);
}

/* Whether the call is still one of those that succeed. */
static bool take_call(atomic_uint_fast64_t *left)
{
    return atomic_load(left) == NEVER || atomic_fetch_sub(left, 1) > 0;
}

static int memory_read(struct briq_source *source, unsigned worker, void *buf, size_t len,
                       uint64_t off, struct briq_error *err)
{
    struct memory_source *m = source_of(source);
    (void)worker;
    if (off + len > source->size_bytes)
        abort();
    if (!take_call(&m->calls_left))
        return briq_error_set(err, -EIO, "the source broke");
    atomic_fetch_add(&m->read_bytes, len);
    memcpy(buf, m->data + off, len);
    return 0;
}

/* By the byte, so that extents begin and end anywhere. */
static int memory_extent(struct briq_source *source, unsigned worker, uint64_t off, uint64_t len,
                         uint64_t *ret_len, bool *ret_zero, struct briq_error *err)
{
    struct memory_source *m = source_of(source);
    (void)worker;
    (void)err;
    uint64_t max = briq_min_u64(len, m->extent_max), n = 1;
    while (n < max && (m->data[off + n] == 0) == (m->data[off] == 0))
        n++;
    *ret_len = n;
    *ret_zero = m->data[off] == 0;
    return 0;
}

static int memory_next(struct briq_source *source, void *buf, size_t max, size_t *ret_len,
                       struct briq_error *err)
{
    struct memory_source *m = source_of(source);
    if (!take_call(&m->calls_left))
        return briq_error_set(err, -EIO, "the source broke");
    *ret_len = max < SIZE - m->pos ? max : SIZE - m->pos;
    memcpy(buf, m->data + m->pos, *ret_len);
    m->pos += *ret_len;
    return 0;
}

static int memory_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                        uint64_t off, struct briq_error *err)
{
    struct memory_sink *m = sink_of(sink);
    (void)worker;
    if (off + len > briq_align_up(SIZE, 512) || (sink->ordered && off != m->next))
        abort();
    if (m->cancels)
        kill(getpid(), SIGTERM);
    if (!take_call(&m->calls_left))
        return briq_error_set(err, -ENOSPC, "the sink is full");
    memcpy(m->data + off, buf, len);
    if (sink->ordered)
        m->next = off + len;
    return 0;
}

static int memory_zero(struct briq_sink *sink, unsigned worker, uint64_t len, uint64_t off,
                       struct briq_error *err)
{
    struct memory_sink *m = sink_of(sink);
    (void)worker;
    (void)err;
    if (sink->ordered && off != m->next)
        abort();
    memset(m->data + off, 0, len);
    if (sink->ordered)
        m->next = off + len;
    return 0;
}

static int memory_grow(struct briq_sink *sink, uint64_t size, struct briq_error *err)
{
    struct memory_sink *m = sink_of(sink);
    (void)err;
    if (size < m->size)
        abort();
    m->size = size;
    return 0;
}

static const struct briq_source_ops range_source = {.read = memory_read, .extent = memory_extent};
static const struct briq_source_ops stream_source = {.next = memory_next};
static const struct briq_sink_ops fresh_sink = {.write = memory_write, .grow = memory_grow};
static const struct briq_sink_ops old_sink = {
    .write = memory_write, .zero = memory_zero, .grow = memory_grow};

struct rig {
    struct memory_source source;
    struct memory_sink sink;
    struct briq_cancel cancel;
    struct briq_progress progress;
    struct briq_pump_options options;
    struct briq_pump_result result;
    struct briq_error err;
};

/* Stretches of random bytes and of zeros, from single bytes to more than a piece. */
static void draw_content(unsigned char *data, struct briq_prng *prng)
{
    for (size_t pos = 0; pos < SIZE;) {
        size_t len = 1 + briq_prng_below(prng, UINT64_C(1) << briq_prng_below(prng, 22));
        len = len < SIZE - pos ? len : SIZE - pos;
        bool zero = briq_prng_below(prng, 2) == 0;
        for (size_t i = 0; i < len; i++)
            data[pos + i] = zero ? 0 : (unsigned char)briq_prng_next(prng);
        pos += len;
    }
}

static void set_up(struct rig *rig, const struct briq_source_ops *source,
                   const struct briq_sink_ops *sink, unsigned threads, struct briq_prng *prng)
{
    memset(rig, 0, sizeof *rig);
    rig->cancel = BRIQ_CANCEL_NONE;
    rig->source.base = (struct briq_source){.ops = source, .name = "source", .size_bytes = SIZE};
    rig->source.data = test_malloc(SIZE);
    rig->source.extent_max = 1 + briq_prng_below(prng, 1u << 20);
    atomic_init(&rig->source.calls_left, NEVER);
    draw_content(rig->source.data, prng);
    rig->sink.base = (struct briq_sink){.ops = sink, .name = "sink", .zero_bytes = 4096};
    rig->sink.data = test_malloc(SIZE + 512);
    memset(rig->sink.data, sink == &fresh_sink ? 0 : OLD_CONTENT, SIZE + 512);
    atomic_init(&rig->sink.calls_left, NEVER);
    briq_progress_init(&rig->progress, "test", BRIQ_PROGRESS_BYTES, SIZE, true);
    rig->options = (struct briq_pump_options){
        .threads = threads, .cancel = &rig->cancel, .progress = &rig->progress};
}

static void tear_down(struct rig *rig)
{
    test_free(rig->source.data);
    test_free(rig->sink.data);
}

static int pump(struct rig *rig)
{
    return briq_pump(&rig->source.base, &rig->sink.base, &rig->options, &rig->result, &rig->err);
}

static void expect_copied(struct rig *rig)
{
    assert_int_equal(pump(rig), 0);
    assert_memory_equal(rig->source.data, rig->sink.data, SIZE);
    assert_int_equal(rig->result.copied_bytes, SIZE);
    assert_true(rig->result.written_bytes <= SIZE);
}

static void test_every_pair_copies_everything(void **state)
{
    (void)state;
    static const struct briq_source_ops *const sources[] = {&range_source, &stream_source};
    static const struct briq_sink_ops *const sinks[] = {&fresh_sink, &old_sink};
    struct briq_prng prng = {seed};
    for (unsigned i = 0; i < 24; i++) {
        struct rig rig;
        bool ordered = i % 3 == 2;
        set_up(&rig, sources[i % 2], ordered ? &old_sink : sinks[i / 2 % 2], 1 + i % 4, &prng);
        rig.sink.base.ordered = ordered;
        if (ordered)
            rig.sink.base.zero_bytes = 0;
        expect_copied(&rig);
        if (sources[i % 2] == &stream_source)
            assert_int_equal(rig.sink.size, SIZE);
        tear_down(&rig);
    }
}

static void test_long_holes_are_not_read(void **state)
{
    (void)state;
    struct briq_prng prng = {seed};
    struct rig rig;
    set_up(&rig, &range_source, &fresh_sink, 2, &prng);
    memset(rig.source.data, 0, SIZE);
    memset(rig.source.data + (3u << 20), 7, 100);
    expect_copied(&rig);
    assert_true(atomic_load(&rig.source.read_bytes) < 256u << 10);
    assert_int_equal(rig.result.written_bytes, 4096);
    tear_down(&rig);
}

static void test_first_error_ends_the_copy(void **state)
{
    (void)state;
    struct briq_prng prng = {seed};
    for (unsigned i = 0; i < 12; i++) {
        struct rig rig;
        bool ordered = i % 2 == 1, source_breaks = i % 4 >= 2;
        set_up(&rig, i % 3 == 0 ? &stream_source : &range_source, &old_sink, 1 + i % 4, &prng);
        memset(rig.source.data, 1, SIZE);
        rig.sink.base.ordered = ordered;
        /* with a size that is known, a stream comes in pieces of 1 MiB too */
        rig.options.limit_bytes = SIZE;
        atomic_store(source_breaks ? &rig.source.calls_left : &rig.sink.calls_left, i % 3);
        assert_int_equal(pump(&rig), source_breaks ? -EIO : -ENOSPC);
        assert_string_equal(rig.err.text, source_breaks ? "the source broke" : "the sink is full");
        tear_down(&rig);
    }
}

static void test_stream_beyond_its_limit_is_refused(void **state)
{
    (void)state;
    struct briq_prng prng = {seed};
    struct rig rig;
    set_up(&rig, &stream_source, &fresh_sink, 3, &prng);
    rig.options.limit_bytes = SIZE - 1;
    assert_int_equal(pump(&rig), -EFBIG);
    assert_non_null(strstr(rig.err.text, "--size"));
    tear_down(&rig);

    set_up(&rig, &stream_source, &fresh_sink, 3, &prng);
    rig.options.limit_bytes = SIZE;
    expect_copied(&rig);
    assert_int_equal(rig.sink.size, 0); /* nothing has to grow */
    tear_down(&rig);
}

static void test_signal_ends_the_copy(void **state)
{
    (void)state;
    struct briq_prng prng = {seed};
    struct rig rig;
    set_up(&rig, &range_source, &old_sink, 2, &prng);
    assert_int_equal(briq_cancel_open(&rig.cancel, &rig.err), 0);
    assert_false(briq_cancel_requested(&rig.cancel));
    /* The signal is pending before the first piece is done, so the watcher finds it at once or
     * when the workers are through: only the former ends in an error, and both are right. A pipe
     * that never becomes readable stands for a source that waits. */
    rig.sink.cancels = true;
    int r = pump(&rig);
    assert_true(briq_cancel_requested(&rig.cancel));
    if (r != 0) {
        assert_int_equal(r, -EINTR);
        assert_string_equal(rig.err.text, "interrupted by SIGTERM");
    }
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(briq_cancel_wait_fd(&rig.cancel, ends[0], POLLIN), -EINTR);

    /* Pending from the start it is always noticed. */
    rig.sink.cancels = false;
    memset(&rig.err, 0, sizeof rig.err);
    assert_int_equal(pump(&rig), -EINTR);
    assert_string_equal(rig.err.text, "interrupted by SIGTERM");
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    int taken = 0;
    assert_int_equal(sigwait(&term, &taken), 0);
    assert_false(briq_cancel_requested(&rig.cancel));
    briq_cancel_close(&rig.cancel);
    tear_down(&rig);
}

static void test_runs_of_zeros_are_found(void **state)
{
    (void)state;
    unsigned char data[40] = {0};
    bool zero = false;
    assert_int_equal(briq_zeros_run(data, 40, 16, &zero), 40);
    assert_true(zero);
    data[39] = 1; /* in the short last unit */
    assert_int_equal(briq_zeros_run(data, 40, 16, &zero), 32);
    assert_true(zero);
    assert_int_equal(briq_zeros_run(data + 32, 8, 16, &zero), 8);
    assert_false(zero);
    data[0] = 1;
    assert_int_equal(briq_zeros_run(data, 40, 16, &zero), 16);
    assert_false(zero);
    assert_false(briq_zeros(data, 1));
    assert_true(briq_zeros(data + 1, 1));
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : getenv("BRIQ_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)getpid();
    printf("seed: %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_copies_everything),
        cmocka_unit_test(test_long_holes_are_not_read),
        cmocka_unit_test(test_first_error_ends_the_copy),
        cmocka_unit_test(test_stream_beyond_its_limit_is_refused),
        cmocka_unit_test(test_signal_ends_the_copy),
        cmocka_unit_test(test_runs_of_zeros_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
