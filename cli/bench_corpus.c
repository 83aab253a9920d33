/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/prng.h"
#include "common/store/store.h"

#define SHUFFLE_SEED 1 /* the same corpus in every run */
#define PIECE_BYTES  (1u << 20)

int briq_corpus_init(struct briq_corpus *corpus, uint64_t capacity, struct briq_error *err)
{
    void *data = mmap(NULL, capacity * BRIQ_BLOCK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return briq_error_set(err, -ENOMEM, "out of memory for %llu blocks of real data",
                              (unsigned long long)capacity);
    *corpus = (struct briq_corpus){.data = data, .capacity = capacity};
    return 0;
}

void briq_corpus_fini(struct briq_corpus *corpus)
{
    if (corpus->data != NULL)
        munmap(corpus->data, corpus->capacity * BRIQ_BLOCK_BYTES);
    *corpus = (struct briq_corpus){0};
}

/* One pattern of 32 bits from the start to the end; zeros are one of them. */
static bool same_filled(const unsigned char *block)
{
    return memcmp(block, block + 4, BRIQ_BLOCK_BYTES - 4) == 0;
}

/* Keeps the block that was read behind the last one, if it is of use. */
static void keep_block(struct briq_corpus *corpus)
{
    if (!same_filled(briq_corpus_block(corpus, corpus->count)))
        corpus->count++;
}

/* Takes whole blocks of [off, end) of the file until the corpus is full. */
static int take_blocks(struct briq_corpus *corpus, int fd, uint64_t off, uint64_t end)
{
    for (; off + BRIQ_BLOCK_BYTES <= end && corpus->count < corpus->capacity;
         off += BRIQ_BLOCK_BYTES) {
        unsigned char *to = corpus->data + corpus->count * BRIQ_BLOCK_BYTES;
        ssize_t n = pread(fd, to, BRIQ_BLOCK_BYTES, (off_t)off);
        if (n < 0)
            return -errno;
        if (n < (ssize_t)BRIQ_BLOCK_BYTES)
            return 0;
        keep_block(corpus);
    }
    return 0;
}

static int check_filled(const struct briq_corpus *corpus, const char *from, struct briq_error *err)
{
    if (corpus->count > 0)
        return 0;
    return briq_error_set(err, -ENODATA, "%s: it has no block that could be compressed", from);
}

/* A random order of 0 .. count - 1; the caller frees it. NULL: no memory. */
static uint64_t *shuffled(uint64_t count)
{
    uint64_t *order = malloc((count + 1) * sizeof *order);
    struct briq_prng prng = {SHUFFLE_SEED};
    for (uint64_t i = 0; order != NULL && i < count; i++) {
        uint64_t j = briq_prng_below(&prng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static int load_pieces(struct briq_corpus *corpus, int fd, uint64_t size)
{
    uint64_t pieces = size / PIECE_BYTES + 1, *order = shuffled(pieces);
    int r = order == NULL ? -ENOMEM : 0;
    for (uint64_t i = 0; r == 0 && i < pieces && corpus->count < corpus->capacity; i++) {
        uint64_t off = order[i] * PIECE_BYTES;
        uint64_t end = off + PIECE_BYTES < size ? off + PIECE_BYTES : size;
        r = take_blocks(corpus, fd, off, end);
    }
    free(order);
    return r;
}

int briq_corpus_load(struct briq_corpus *corpus, const char *image, struct briq_error *err)
{
    int fd = open(image, O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    int r = size < 0 ? -errno : load_pieces(corpus, fd, (uint64_t)size);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return briq_error_set(err, r, "%s: %s", image, strerror(-r));
    return check_filled(corpus, image, err);
}

struct path_list {
    char **paths;
    uint64_t count, capacity;
};

static int add_path(struct path_list *list, const char *path)
{
    if (list->count == list->capacity) {
        uint64_t capacity = list->capacity * 2 + 1024;
        char **paths = realloc(list->paths, capacity * sizeof *paths);
        if (paths == NULL)
            return -ENOMEM;
        list->paths = paths;
        list->capacity = capacity;
    }
    list->paths[list->count] = strdup(path);
    return list->paths[list->count++] != NULL ? 0 : -ENOMEM;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int list_files(const char *dir, struct path_list *list)
{
    char *root = strdup(dir);
    char *const roots[] = {root, NULL};
    FTS *walk = root != NULL ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name) : NULL;
    int r = walk == NULL ? -errno : 0;
    for (FTSENT *e; r == 0 && (e = fts_read(walk)) != NULL;)
        if (e->fts_info == FTS_F && e->fts_statp->st_size >= (off_t)BRIQ_BLOCK_BYTES)
            r = add_path(list, e->fts_path);
    if (walk != NULL)
        fts_close(walk);
    free(root);
    return r;
}

/* A file that cannot be opened or read is no loss: there are many. */
static void take_file(struct briq_corpus *corpus, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    (void)take_blocks(corpus, fd, 0, INT64_MAX);
    close(fd);
}

int briq_corpus_gather(struct briq_corpus *corpus, const char *dir, struct briq_error *err)
{
    struct path_list list = {0};
    int r = list_files(dir, &list);
    uint64_t *order = r == 0 ? shuffled(list.count) : NULL;
    if (r == 0 && order == NULL)
        r = -ENOMEM;
    for (uint64_t i = 0; r == 0 && i < list.count && corpus->count < corpus->capacity; i++)
        take_file(corpus, list.paths[order[i]]);
    for (uint64_t i = 0; i < list.count; i++)
        free(list.paths[i]);
    free(list.paths);
    free(order);
    if (r < 0)
        return briq_error_set(err, r, "%s: %s", dir, strerror(-r));
    return check_filled(corpus, dir, err);
}
