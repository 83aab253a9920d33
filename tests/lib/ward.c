/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/ward.h"

#include <stdlib.h>

#include "common/base/align.h"
#include "tests/lib/fixture.h"

int test_ward_open(void **state, const char *program, unsigned segment_shift,
                   enum test_patient_state how)
{
    struct test_ward *ward = calloc(1, sizeof *ward);
    BRIQ_ASSERT(ward != NULL);
    test_patient_open(&ward->patient, test_seed(program), segment_shift, how);
    test_patient_places(&ward->patient, &ward->places);
    *state = ward;
    return 0;
}

int test_ward_close(void **state)
{
    struct test_ward *ward = *state;
    test_patient_close(&ward->patient);
    free(ward);
    return 0;
}

uint64_t test_ward_chunk_around(const struct test_ward *ward, uint64_t at)
{
    const struct test_image *image = &ward->patient.image;
    uint64_t off = briq_align_down(at, BRIQ_CHUNK_ALIGN);
    struct briq_chunk chunk;
    size_t more;
    while (!briq_chunk_decode(image->bytes + off, image->size - off, &chunk, &more))
        off -= BRIQ_CHUNK_ALIGN;
    return off;
}

uint32_t test_ward_data_block(const struct test_ward *ward, uint32_t block)
{
    while (ward->places.data[block] == 0)
        block = (block + 1) % TEST_PATIENT_BLOCKS;
    return block;
}
