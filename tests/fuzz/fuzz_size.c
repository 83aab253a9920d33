/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_size.c - sizes and uuids as text: any text is taken or refused as the header says; what is
 * taken agrees with arithmetic done in another way, and what is printed is read back.
 */
#include "tests/fuzz/support/fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/size.h"
#include "common/base/uuid.h"

#define TEXT_MAX 200u

/* By the C library, in floating point: right to 15 digits. */
static double size_by_strtod(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*end == ' ')
        end++;
    static const char units[] = "KMGTP";
    const char *unit = *end == '\0' ? NULL : strchr(units, toupper((unsigned char)*end));
    return unit == NULL ? value : ldexp(value, 10 * (int)(unit - units + 1));
}

static void expect_near(const char *text, uint64_t bytes)
{
    double wanted = size_by_strtod(text);
    BRIQ_ASSERT(fabs((double)bytes - wanted) <= 1 + wanted * 1e-13);
}

/* To the next tenth of the unit it is printed in; exactly, where it is whole. */
static void expect_read_back(uint64_t bytes)
{
    char text[BRIQ_SIZE_TEXT_MAX];
    uint64_t again = 0;
    briq_size_format(bytes, text);
    BRIQ_ASSERT(strlen(text) < sizeof text);
    int r = briq_size_parse(text, &again);
    if (r == -ERANGE) {
        BRIQ_ASSERT(bytes > UINT64_C(0x7f) << 56); /* rounded up beyond 63 bits */
        return;
    }
    BRIQ_ASSERT(r == 0);
    double difference = fabs((double)again - (double)bytes);
    BRIQ_ASSERT(difference <= (double)bytes / 10 && (strchr(text, '.') != NULL || again == bytes));
}

static void try_size(const char *text)
{
    uint64_t bytes = 12345;
    int r = briq_size_parse(text, &bytes);
    BRIQ_ASSERT(r == 0 || r == -EINVAL || r == -ERANGE);
    if (r < 0) {
        BRIQ_ASSERT(bytes == 12345);
        return;
    }
    BRIQ_ASSERT(isdigit((unsigned char)text[0]) && bytes <= INT64_MAX);
    expect_near(text, bytes);
    expect_read_back(bytes);
}

static void try_uuid(const char *text)
{
    uint8_t uuid[BRIQ_UUID_BYTES];
    char again[BRIQ_UUID_TEXT_MAX];
    if (briq_uuid_parse(text, uuid) < 0)
        return;
    briq_uuid_format(uuid, again);
    BRIQ_ASSERT(strlen(text) == strlen(again));
    for (size_t i = 0; again[i] != '\0'; i++)
        BRIQ_ASSERT(tolower((unsigned char)text[i]) == again[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = size < TEXT_MAX ? size : TEXT_MAX;
    char *text = malloc(len + 1); /* no longer than the text */
    uint64_t number = 0;
    BRIQ_ASSERT(text != NULL);
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    try_size(text);
    try_uuid(text);
    memcpy(&number, text, len < sizeof number ? len : sizeof number);
    expect_read_back(number);
    free(text);
    return 0;
}
