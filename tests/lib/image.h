/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h - looking into a volume's file and damaging it on purpose.
 *
 * Damage is done in place and undone by test_image_restore(), so that one volume serves many cases.
 * Every failure of the file itself ends the program. Thread: one owner.
 */
#ifndef BRIQ_TESTS_LIB_IMAGE_H
#define BRIQ_TESTS_LIB_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/encode.h"

struct test_image {
    int fd;
    uint64_t size;
    uint8_t *bytes; /* as it was at the open */
};

/* One record on the medium. */
struct test_found {
    uint64_t chunk; /* byte offset of the chunk's header */
    unsigned index; /* of the record in the chunk */
    struct briq_chunk header;
    struct briq_record record;
};

void test_image_open(struct test_image *image, const char *path);
void test_image_close(struct test_image *image);

void test_image_write(struct test_image *image, uint64_t off, const void *buf, size_t len);
void test_image_flip(struct test_image *image, uint64_t off, uint8_t mask);

/* Makes the file what it was, its length included. */
void test_image_restore(struct test_image *image);

/* Every record in every sound chunk, in the order of the medium. Returns how many were stored. */
size_t test_image_records(const struct test_image *image, struct test_found *found, size_t max);

/* Byte offsets of a record and of its payload. */
uint64_t test_found_record_at(const struct test_found *found);
uint64_t test_found_payload_at(const struct test_found *found);

/* Copies a file as it is now. Of a volume in use: what a power cut would leave. */
void test_file_copy(const char *from, const char *to);

/* A new file with these bytes. */
void test_file_make(const char *path, const void *bytes, size_t len);

#endif
