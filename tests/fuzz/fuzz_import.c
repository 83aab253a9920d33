/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_import.c - importing raw bytes: from standard input or a pipe, in pieces of any size and
 * with any length, or from a sparse file. The sink gets exactly what was there, nothing twice, no
 * whole block of zeros, and is as long as it has to be; a stream that is longer than it may be is
 * refused.
 *
 *   byte 0: bit 0 a sparse file instead of a stream; bit 1 the stream has a limit; bits 2-3
 *           workers; bit 4 the limit is too short; bits 5-7, all set: the workers are threads, else
 *           they run one after the other, which is a hundred times as fast; then runs of 3 bytes: kind (bits 0-1: zeros,
 *           data, the same byte, one more byte of data; the rest makes the data differ), length (2
 *           bytes; longer ones are cut short). In a stream each run is a piece, or several if it is long.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/pump.h"
#include "cli/zeros.h"
#include "common/base/align.h"

#define CONTENT_MAX       ((size_t)64 << 10)
#define RUNS_MAX          16u
#define RUN_BYTES_MAX     (CONTENT_MAX / 4)
#define PERIOD            256u        /* of the data */
#define PIECE_MAX         4096u       /* of a packet in a pipe */
#define PIPE_BYTES        (256 << 10) /* 64 packets, of which there are at most 32 */
#define SINK_BYTES        (CONTENT_MAX + BRIQ_BLOCK_BYTES)
#define BRIQ_BLOCK_BYTES  4096u
#define BRIQ_SECTOR_BYTES 512u

struct scene {
    uint8_t pattern[PERIOD + RUN_BYTES_MAX];
    uint8_t *content;
    size_t len;
    size_t pieces[CONTENT_MAX / PIECE_MAX + RUNS_MAX + 1];
    unsigned piece_count;
};

/* A sink like a new volume: it reads as zeros, blocks of zeros are spared, it grows by sectors. */
struct model_sink {
    struct briq_sink base;
    pthread_mutex_t lock;
    uint8_t *bytes;
    uint8_t written[SINK_BYTES / BRIQ_SECTOR_BYTES + 1]; /* how often, a sector */
    uint64_t size;
};

static struct model_sink *sink_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct model_sink, base);
}

static int model_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                       uint64_t off, struct briq_error *err)
{
    struct model_sink *m = sink_of(sink);
    (void)worker;
    (void)err;
    BRIQ_ASSERT(len > 0 && off + len <= m->size && off % BRIQ_SECTOR_BYTES == 0);
    BRIQ_ASSERT(!briq_zeros(buf, briq_min_u64(len, BRIQ_BLOCK_BYTES)));
    pthread_mutex_lock(&m->lock);
    memcpy(m->bytes + off, buf, len);
    for (uint64_t at = off; at < off + len; at += BRIQ_SECTOR_BYTES)
        BRIQ_ASSERT(m->written[at / BRIQ_SECTOR_BYTES]++ == 0);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int model_grow(struct briq_sink *sink, uint64_t size, struct briq_error *err)
{
    struct model_sink *m = sink_of(sink);
    (void)err;
    BRIQ_ASSERT(size <= SINK_BYTES);
    pthread_mutex_lock(&m->lock);
    m->size = briq_max_u64(m->size, briq_align_up(size, BRIQ_SECTOR_BYTES));
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static const struct briq_sink_ops model_ops = {.write = model_write, .grow = model_grow};

/* ---- threads --------------------------------------------------------------------------------- */

/* The linker gives us the calls to these, see the Makefile. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __real_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t thread, void **ret);

static bool threaded;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    if (threaded)
        return __real_pthread_create(thread, attr, run, arg);
    *thread = pthread_self();
    (void)run(arg);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
    return threaded ? __real_pthread_join(thread, ret) : 0;
}

/* ---- the content ----------------------------------------------------------------------------- */

/* Cut also where a buffer may end: a pipe drops what a read has no room for of its packet. */
static void add_run(struct scene *s, size_t len)
{
    for (; len > 0; s->piece_count++) {
        size_t piece = briq_min_u64(len, PIECE_MAX - s->len % PIECE_MAX);
        s->pieces[s->piece_count] = piece;
        s->len += piece;
        len -= piece;
    }
}

static void make_content(struct scene *s, struct fuzz_input *in)
{
    s->len = s->piece_count = 0;
    for (unsigned run = 0; run < RUNS_MAX && in->left > 0; run++) {
        unsigned kind = (unsigned)fuzz_number(in, 1);
        size_t len = fuzz_number(in, 2), left = CONTENT_MAX - s->len;
        len = (kind & 3) == 3 ? 1 : briq_min_u64(len, briq_min_u64(RUN_BYTES_MAX, left));
        if (s->len + len > CONTENT_MAX)
            break;
        uint8_t *at = s->content + s->len;
        if ((kind & 1) == 0)
            memset(at, (kind & 3) == 0 ? 0 : (int)kind, len);
        else
            memcpy(at, s->pattern + (s->len + kind) % PERIOD, len);
        add_run(s, len);
    }
}

/* A pipe of packets: each read gets one piece. Everything is in it before the reading begins. */
static int make_pipe(const struct scene *s)
{
    int ends[2];
    BRIQ_ASSERT(pipe2(ends, O_CLOEXEC | O_DIRECT) == 0);
    BRIQ_ASSERT(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
    const uint8_t *at = s->content;
    for (unsigned i = 0; i < s->piece_count; i++) {
        BRIQ_ASSERT(write(ends[1], at, s->pieces[i]) == (ssize_t)s->pieces[i]);
        at += s->pieces[i];
    }
    close(ends[1]);
    return ends[0];
}

/* A file with holes wherever whole pages are zero; the same one each time. */
static void make_file(const struct scene *s, char path[64])
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("source", MFD_CLOEXEC);
    BRIQ_ASSERT(fd >= 0 && ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)s->len) == 0);
    for (size_t off = 0; off < s->len; off += BRIQ_BLOCK_BYTES) {
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, s->len - off);
        if (!briq_zeros(s->content + off, len))
            BRIQ_ASSERT(pwrite(fd, s->content + off, len, (off_t)off) == (ssize_t)len);
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* ---- the copy -------------------------------------------------------------------------------- */

static void expect_copied(const struct scene *s, const struct model_sink *m,
                          const struct briq_pump_result *result)
{
    BRIQ_ASSERT(result->copied_bytes == s->len && m->size >= s->len);
    BRIQ_ASSERT(s->len == 0 || memcmp(m->bytes, s->content, s->len) == 0);
    for (size_t off = 0; off < s->len; off += BRIQ_BLOCK_BYTES) {
        bool zero = briq_zeros(s->content + off, briq_min_u64(BRIQ_BLOCK_BYTES, s->len - off));
        BRIQ_ASSERT(m->written[off / BRIQ_SECTOR_BYTES] == !zero);
    }
}

static void pump(struct briq_source *source, const struct scene *s, struct model_sink *m,
                 unsigned how)
{
    struct briq_cancel cancel = BRIQ_CANCEL_NONE;
    struct briq_progress progress;
    struct briq_pump_result result;
    struct briq_error err = {{0}};
    bool limited = (how & 2) != 0 && source->ops->next != NULL;
    bool too_short = limited && (how & 16) != 0 && s->len > 1;
    struct briq_pump_options options = {
        .threads = 1 + (how >> 2 & 3),
        .limit_bytes = limited ? s->len + 1 - 2 * too_short : 0,
        .cancel = &cancel,
        .progress = &progress,
    };
    m->size = source->ops->next == NULL || limited ? SINK_BYTES : 0;
    briq_progress_init(&progress, "import", BRIQ_PROGRESS_BYTES, 0, true);
    int r = briq_pump(source, &m->base, &options, &result, &err);
    BRIQ_ASSERT(r == (too_short ? -EFBIG : 0));
    BRIQ_ASSERT((r < 0) == (err.text[0] != '\0'));
    if (r == 0)
        expect_copied(s, m, &result);
}

static void copy(const struct scene *s, struct model_sink *m, unsigned how)
{
    struct briq_cancel cancel = BRIQ_CANCEL_NONE;
    struct briq_source *source = NULL;
    struct briq_error err = {{0}};
    char path[64];
    if ((how & 1) != 0) {
        make_file(s, path);
        BRIQ_ASSERT(briq_source_file_open(path, &err, &source) == 0);
    } else {
        BRIQ_ASSERT(briq_source_stream_open("stream", make_pipe(s), &cancel, &err, &source) == 0);
    }
    pump(source, s, m, how);
    briq_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scene s;
    static struct model_sink m = {
        .base = {.ops = &model_ops, .name = "sink", .zero_bytes = BRIQ_BLOCK_BYTES},
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    if (s.content == NULL) {
        s.content = malloc(CONTENT_MAX);
        m.bytes = malloc(SINK_BYTES);
        BRIQ_ASSERT(s.content != NULL && m.bytes != NULL);
        for (size_t i = 0; i < sizeof s.pattern; i++)
            s.pattern[i] = (uint8_t)(i * 7);
    }
    struct fuzz_input in = {data, size};
    unsigned how = (unsigned)fuzz_number(&in, 1);
    threaded = how >> 5 == 7;
    make_content(&s, &in);
    memset(m.bytes, 0, SINK_BYTES);
    memset(m.written, 0, sizeof m.written);
    copy(&s, &m, how);
    return 0;
}
