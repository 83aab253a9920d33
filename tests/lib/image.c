/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/image.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/attr.h"

#define COPY_BYTES (1u << 20)

static void need(bool well, const char *what)
{
    if (!well) {
        perror(what);
        exit(2);
    }
}

void test_image_open(struct test_image *image, const char *path)
{
    struct stat st;
    image->fd = open(path, O_RDWR | O_CLOEXEC);
    need(image->fd >= 0 && fstat(image->fd, &st) == 0, path);
    image->size = (uint64_t)st.st_size;
    image->bytes = malloc(image->size);
    need(image->bytes != NULL, "memory for an image");
    need(pread(image->fd, image->bytes, image->size, 0) == (ssize_t)image->size,
         "reading an image");
}

void test_image_close(struct test_image *image)
{
    free(image->bytes);
    close(image->fd);
}

void test_image_write(struct test_image *image, uint64_t off, const void *buf, size_t len)
{
    need(pwrite(image->fd, buf, len, (off_t)off) == (ssize_t)len, "writing an image");
}

void test_image_flip(struct test_image *image, uint64_t off, uint8_t mask)
{
    uint8_t byte = image->bytes[off] ^ mask;
    test_image_write(image, off, &byte, 1);
}

static void restore_piece(struct test_image *image, uint64_t off, size_t len)
{
    uint8_t now[4096];
    ssize_t got = pread(image->fd, now, len, (off_t)off);
    if (got != (ssize_t)len || memcmp(now, image->bytes + off, len) != 0)
        test_image_write(image, off, image->bytes + off, len);
}

void test_image_restore(struct test_image *image)
{
    need(ftruncate(image->fd, (off_t)image->size) == 0, "restoring an image");
    for (uint64_t off = 0; off < image->size; off += 4096)
        restore_piece(image, off, image->size - off < 4096 ? image->size - off : 4096);
}

size_t test_image_records(const struct test_image *image, struct test_found *found, size_t max)
{
    size_t count = 0;
    for (uint64_t off = BRIQ_DATA_OFFSET; off + BRIQ_CHUNK_ALIGN <= image->size;) {
        struct briq_chunk chunk;
        size_t more;
        const uint8_t *src = image->bytes + off;
        if (!briq_chunk_decode(src, image->size - off, &chunk, &more)) {
            off += BRIQ_CHUNK_ALIGN;
            continue;
        }
        for (unsigned i = 0; i < chunk.nrec && count < max; i++) {
            struct test_found *next = &found[count];
            *next = (struct test_found){.chunk = off, .index = i, .header = chunk};
            count += briq_record_decode(src, &chunk, i, &next->record);
        }
        off += chunk.len;
    }
    return count;
}

uint64_t test_found_record_at(const struct test_found *found)
{
    return found->chunk + sizeof(struct briq_fmt_chunk) +
           found->index * sizeof(struct briq_fmt_record);
}

uint64_t test_found_payload_at(const struct test_found *found)
{
    return found->chunk + (uint64_t)found->record.off_granules * BRIQ_GRANULE_BYTES;
}

void test_file_copy(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *buf = malloc(COPY_BYTES);
    need(in >= 0 && out >= 0 && buf != NULL, from);
    for (ssize_t got; (got = read(in, buf, COPY_BYTES)) > 0;)
        need(write(out, buf, (size_t)got) == got, to);
    free(buf);
    close(in);
    need(close(out) == 0, to);
}

void test_file_make(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0, path);
}
