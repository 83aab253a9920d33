/* SPDX-License-Identifier: BSD-3-Clause */
/* raw_page.h - a metadata page as an extent that is not packed, to be put into a volume's bytes. */
#ifndef BRIQ_TESTS_LIB_RAW_PAGE_H
#define BRIQ_TESTS_LIB_RAW_PAGE_H

#include "common/store/codec.h"
#include "common/store/tree.h"

#define TEST_RAW_PAGE_BYTES (BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES)

/* Writes TEST_RAW_PAGE_BYTES at `at`; tag and segseq as for briq_extent_write(). */
static inline void test_raw_page_write(uint8_t *at, const void *page, uint64_t tag, uint64_t segseq)
{
    struct briq_payload payload = {
        .kind = BRIQ_PAYLOAD_EXTENT,
        .codec = BRIQ_CODEC_RAW,
        .len = BRIQ_PAGE_BYTES,
        .granules = BRIQ_META_GRANULES,
        .bytes = page,
        .hash = briq_payload_hash(page, BRIQ_PAGE_BYTES),
    };
    briq_extent_write(at, &payload, tag, segseq);
}

#endif
