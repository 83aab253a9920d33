/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd_load.c - a load for NBD servers: random 4 KiB reads or writes of real data, through libnbd.
 *
 * One thread a connection keeps a fixed number of requests in flight. What is written are blocks of
 * a file (an image), taken at random, so that a compressing server has what it would have in use.
 * Prints one line of JSON: requests, seconds, and percentiles of the time a request took.
 *
 *   nbd_load URI read|write IMAGE REQUESTS DEPTH CONNECTIONS SEED [REQUEST-BYTES]
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "common/base/prng.h"

#define BLOCK_BYTES 4096u

struct load {
    const char *uri;
    bool writes;
    const uint8_t *image;
    uint64_t image_blocks;
    uint64_t requests; /* of each connection */
    unsigned depth;
    uint32_t bytes;
    uint64_t seed;
};

struct slot {
    struct worker *worker;
    uint8_t *buf;
    uint64_t began_ns;
    struct slot *next_free;
};

struct worker {
    const struct load *load;
    struct nbd_handle *nbd;
    struct briq_prng prng;
    uint64_t size;
    struct slot *slots, *free;
    uint64_t *took_ns; /* of each request, in the order of their ends */
    uint64_t issued, done;
    pthread_t thread;
};

static void die(const char *what)
{
    fprintf(stderr, "nbd_load: %s: %s\n", what, nbd_get_error() ? nbd_get_error() : "");
    exit(2);
}

static void *need(void *memory)
{
    if (memory == NULL)
        die("no memory");
    return memory;
}

static int finished(void *opaque, int *error)
{
    struct slot *slot = opaque;
    struct worker *w = slot->worker;
    if (*error != 0) {
        fprintf(stderr, "nbd_load: a request failed: %s\n", strerror(*error));
        exit(1);
    }
    w->took_ns[w->done++] = briq_clock_ns() - slot->began_ns;
    slot->next_free = w->free;
    w->free = slot;
    return 1;
}

static void issue(struct worker *w, struct slot *slot)
{
    const struct load *load = w->load;
    uint64_t off = briq_prng_below(&w->prng, w->size / load->bytes) * load->bytes;
    nbd_completion_callback callback = {.callback = finished, .user_data = slot};
    slot->began_ns = briq_clock_ns();
    int64_t cookie;
    if (load->writes) {
        uint64_t from = briq_prng_below(&w->prng, load->image_blocks - load->bytes / BLOCK_BYTES);
        cookie =
            nbd_aio_pwrite(w->nbd, load->image + from * BLOCK_BYTES, load->bytes, off, callback, 0);
    } else {
        cookie = nbd_aio_pread(w->nbd, slot->buf, load->bytes, off, callback, 0);
    }
    if (cookie < 0)
        die("issuing a request");
    w->issued++;
}

static void *work(void *opaque)
{
    struct worker *w = opaque;
    while (w->done < w->load->requests) {
        struct slot *slot;
        while (w->issued < w->load->requests && (slot = w->free) != NULL) {
            w->free = slot->next_free;
            issue(w, slot);
        }
        if (nbd_poll(w->nbd, -1) < 0)
            die("waiting");
    }
    return NULL;
}

static void worker_init(struct worker *w, const struct load *load, unsigned index)
{
    *w = (struct worker){.load = load};
    w->prng.state = load->seed + index;
    w->nbd = need(nbd_create());
    if (nbd_set_strict_mode(w->nbd, 0) < 0 || nbd_set_uri_allow_local_file(w->nbd, true) < 0 ||
        nbd_connect_uri(w->nbd, load->uri) < 0)
        die("connecting");
    w->size = (uint64_t)nbd_get_size(w->nbd);
    w->took_ns = need(calloc(load->requests, sizeof *w->took_ns));
    w->slots = need(calloc(load->depth, sizeof *w->slots));
    for (unsigned i = 0; i < load->depth; i++) {
        w->slots[i].worker = w;
        w->slots[i].buf = need(aligned_alloc(BLOCK_BYTES, load->bytes));
        w->slots[i].next_free = w->free;
        w->free = &w->slots[i];
    }
}

static void worker_fini(struct worker *w)
{
    nbd_shutdown(w->nbd, 0);
    nbd_close(w->nbd);
    for (unsigned i = 0; i < w->load->depth; i++)
        free(w->slots[i].buf);
    free(w->slots);
    free(w->took_ns);
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct load *load, struct worker *workers, unsigned count,
                   uint64_t elapsed_ns)
{
    uint64_t total = load->requests * count;
    uint64_t *all = need(malloc(total * sizeof *all));
    for (unsigned i = 0; i < count; i++)
        memcpy(all + i * load->requests, workers[i].took_ns, load->requests * sizeof *all);
    qsort(all, total, sizeof *all, by_time);
    printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f}\n",
           total, (double)elapsed_ns / 1e9, (double)all[total / 2] / 1e3,
           (double)all[total * 99 / 100] / 1e3, (double)all[total * 999 / 1000] / 1e3);
    free(all);
}

static void map_image(struct load *load, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 2 * (off_t)load->bytes)
        die(path);
    load->image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (load->image == MAP_FAILED)
        die(path);
    load->image_blocks = (uint64_t)st.st_size / BLOCK_BYTES;
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 8) {
        fprintf(stderr, "usage: nbd_load URI read|write IMAGE REQUESTS DEPTH CONNECTIONS SEED "
                        "[REQUEST-BYTES]\n");
        return 2;
    }
    unsigned count = (unsigned)strtoul(argv[6], NULL, 10);
    struct load load = {
        .uri = argv[1],
        .writes = strcmp(argv[2], "write") == 0,
        .requests = strtoull(argv[4], NULL, 10) / count,
        .depth = (unsigned)strtoul(argv[5], NULL, 10),
        .seed = strtoull(argv[7], NULL, 10),
        .bytes = argc > 8 ? (uint32_t)strtoul(argv[8], NULL, 10) : BLOCK_BYTES,
    };
    map_image(&load, argv[3]);
    struct worker *workers = need(calloc(count, sizeof *workers));
    for (unsigned i = 0; i < count; i++)
        worker_init(&workers[i], &load, i);
    uint64_t began = briq_clock_ns();
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    for (unsigned i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    report(&load, workers, count, briq_clock_ns() - began);
    for (unsigned i = 0; i < count; i++)
        worker_fini(&workers[i]);
    free(workers);
    return 0;
}
