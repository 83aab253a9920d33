/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_load - 4 KiB requests at random places of a block device, and what it is compared with.
 *
 *   ublk_load fill DEVICE IMAGE                        writes the image to the device
 *   ublk_load read|write DEVICE IMAGE DEPTH JOBS MS    prints the number of requests; each job is a
 *                                                      thread with DEPTH requests, on a processor of
 *                                                      its own; writes are blocks of the image
 *   ublk_load nbd URI MS                               the same, one read at a time, over NBD
 *   ublk_load lz4 IMAGE                                nanoseconds to pack a block, and to unpack it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libnbd.h>
#include <liburing.h>
#include <lz4.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/prng.h"

#define BLOCK     4096u
#define MS        UINT64_C(1000000)
#define DEPTH_MAX 256u
#define JOBS_MAX  16u

struct load {
    int fd;
    bool writes;
    unsigned depth;
    uint64_t blocks, end_ns;
    const char *image;
    uint64_t image_blocks;
};

struct job {
    const struct load *load;
    pthread_t thread;
    unsigned index;
    uint64_t done;
};

static void fail(const char *what, int error)
{
    fprintf(stderr, "ublk_load: %s: %s\n", what, strerror(error));
    exit(1);
}

static const char *map_image(const char *path, uint64_t *ret_blocks)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        fail(path, errno);
    *ret_blocks = (uint64_t)st.st_size / BLOCK;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED || *ret_blocks == 0)
        fail(path, map == MAP_FAILED ? errno : EINVAL);
    return map;
}

static int open_device(const char *path, int flags, uint64_t *ret_blocks)
{
    int fd = open(path, flags | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (size < 0)
        fail(path, errno);
    *ret_blocks = (uint64_t)size / BLOCK;
    return fd;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void queue_one(const struct load *load, struct io_uring *ring, char *buffer, uint64_t slot,
                      struct briq_prng *prng)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    uint64_t off = briq_prng_below(prng, load->blocks) * BLOCK;
    if (load->writes) {
        uint64_t block = briq_prng_below(prng, load->image_blocks);
        memcpy(buffer, load->image + block * BLOCK, BLOCK);
        io_uring_prep_write(sqe, load->fd, buffer, BLOCK, off);
    } else {
        io_uring_prep_read(sqe, load->fd, buffer, BLOCK, off);
    }
    sqe->user_data = slot;
}

static void run_job(struct job *job, struct io_uring *ring, char *buffers)
{
    const struct load *load = job->load;
    struct briq_prng prng;
    struct io_uring_cqe *cqe;
    unsigned under_way = load->depth;
    prng.state = job->index + 1;
    for (unsigned i = 0; i < load->depth; i++)
        queue_one(load, ring, buffers + (size_t)i * BLOCK, i, &prng);
    while (under_way > 0) {
        int r = io_uring_submit_and_wait(ring, 1);
        if (r < 0 && r != -EINTR)
            fail("io_uring", -r);
        bool more = briq_clock_ns() < load->end_ns;
        while (io_uring_peek_cqe(ring, &cqe) == 0) {
            uint64_t slot = cqe->user_data;
            if (cqe->res != (int)BLOCK)
                fail(load->writes ? "write" : "read", cqe->res < 0 ? -cqe->res : EIO);
            io_uring_cqe_seen(ring, cqe);
            job->done++;
            if (more)
                queue_one(load, ring, buffers + slot * BLOCK, slot, &prng);
            else
                under_way--;
        }
    }
}

static void *job_main(void *arg)
{
    struct job *job = arg;
    struct io_uring ring;
    cpu_set_t cpus;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&cpus);
    CPU_SET(job->index % (unsigned)count, &cpus);
    (void)sched_setaffinity(0, sizeof cpus, &cpus);
    char *buffers = aligned_alloc(BLOCK, (size_t)DEPTH_MAX * BLOCK);
    int r = buffers == NULL ? -ENOMEM : io_uring_queue_init(DEPTH_MAX, &ring, 0);
    if (r < 0)
        fail("a ring", -r);
    memset(buffers, 0, (size_t)DEPTH_MAX * BLOCK);
    run_job(job, &ring, buffers);
    io_uring_queue_exit(&ring);
    free(buffers);
    return NULL;
}

static int run_load(char **argv)
{
    struct job jobs[JOBS_MAX];
    struct load load = {.writes = strcmp(argv[1], "write") == 0};
    unsigned long depth = strtoul(argv[4], NULL, 10), count = strtoul(argv[5], NULL, 10);
    uint64_t done = 0;
    if (depth == 0 || depth > DEPTH_MAX || count == 0 || count > JOBS_MAX)
        fail("depth or jobs", EINVAL);
    load.depth = (unsigned)depth;
    load.fd = open_device(argv[2], O_RDWR | O_DIRECT, &load.blocks);
    load.image = map_image(argv[3], &load.image_blocks);
    load.end_ns = briq_clock_ns() + strtoull(argv[6], NULL, 10) * MS;
    for (unsigned i = 0; i < count; i++) {
        jobs[i] = (struct job){.load = &load, .index = i};
        int r = pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i]);
        if (r != 0)
            fail("a thread", r);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(jobs[i].thread, NULL);
        done += jobs[i].done;
    }
    printf("%" PRIu64 "\n", done);
    return 0;
}

static int run_fill(char **argv)
{
    uint64_t blocks, image_blocks;
    int fd = open_device(argv[2], O_WRONLY, &blocks);
    const char *image = map_image(argv[3], &image_blocks);
    for (uint64_t i = 0; i < blocks && i < image_blocks; i++)
        if (pwrite(fd, image + i * BLOCK, BLOCK, (off_t)(i * BLOCK)) != BLOCK)
            fail(argv[2], errno);
    return fsync(fd) == 0 && close(fd) == 0 ? 0 : 1;
}

/* ---- what it is compared with ---------------------------------------------------------------- */

static int run_nbd(char **argv)
{
    char block[BLOCK];
    struct briq_prng prng;
    uint64_t done = 0, end = briq_clock_ns() + strtoull(argv[3], NULL, 10) * MS;
    struct nbd_handle *nbd = nbd_create();
    prng.state = 1;
    if (nbd == NULL || nbd_connect_uri(nbd, argv[2]) < 0)
        fail(nbd_get_error(), EIO);
    uint64_t blocks = (uint64_t)nbd_get_size(nbd) / BLOCK;
    for (; briq_clock_ns() < end; done++)
        if (nbd_pread(nbd, block, BLOCK, briq_prng_below(&prng, blocks) * BLOCK, 0) < 0)
            fail(nbd_get_error(), EIO);
    (void)nbd_shutdown(nbd, 0);
    nbd_close(nbd);
    printf("%" PRIu64 "\n", done);
    return 0;
}

/* Blocks that do not shrink are stored as they are: then to unpack is to copy. */
static int run_lz4(char **argv)
{
    char packed[LZ4_COMPRESSBOUND(BLOCK)], plain[BLOCK];
    uint64_t blocks, pack_ns = 0, unpack_ns = 0;
    const char *image = map_image(argv[2], &blocks);
    blocks = blocks < 8192 ? blocks : 8192;
    for (uint64_t i = 0; i < blocks; i++) {
        const char *block = image + i * BLOCK;
        uint64_t from = briq_clock_ns();
        int n = LZ4_compress_default(block, packed, BLOCK, BLOCK - 1);
        uint64_t to = briq_clock_ns();
        if (n > 0 && LZ4_decompress_safe(packed, plain, n, BLOCK) != (int)BLOCK)
            fail("LZ4", EIO);
        if (n <= 0)
            memcpy(plain, block, BLOCK);
        pack_ns += to - from;
        unpack_ns += briq_clock_ns() - to;
    }
    printf("%" PRIu64 " %" PRIu64 "\n", pack_ns / blocks, unpack_ns / blocks);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 7 && (strcmp(what, "read") == 0 || strcmp(what, "write") == 0))
        return run_load(argv);
    if (argc == 4 && strcmp(what, "fill") == 0)
        return run_fill(argv);
    if (argc == 4 && strcmp(what, "nbd") == 0)
        return run_nbd(argv);
    if (argc == 3 && strcmp(what, "lz4") == 0)
        return run_lz4(argv);
    fprintf(stderr, "usage: ublk_load fill|read|write|nbd|lz4 ...: see its source\n");
    return 2;
}
