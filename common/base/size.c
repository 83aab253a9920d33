/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * size.c - reading and writing sizes. Exact integer arithmetic throughout: a size that somebody
 * typed must not change with the rounding of a floating point number.
 */
#include "common/base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHIFT_STEP       10
#define SHIFT_MAX        50 /* P */
#define FRACTION_DIGITS  18 /* as many as fit in 64 bits; later ones are below a byte's worth */
#define PARSED_BYTES_MAX ((uint64_t)INT64_MAX)

static const char unit_letters[] = "BKMGTP";

/* A fraction `num / den`, in [0, 1). */
struct fraction {
    uint64_t num, den;
    bool present;
};

/* Reads decimal digits at *pos. -EINVAL without any; -ERANGE past 63 bits, after reading them all.
 */
static int parse_whole(const char **pos, uint64_t *ret)
{
    const char *p = *pos;
    uint64_t value = 0;
    bool overflow = false;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (PARSED_BYTES_MAX - digit) / 10)
            overflow = true;
        else
            value = value * 10 + digit;
    }
    *pos = p;
    *ret = overflow ? UINT64_MAX : value;
    return 0;
}

static int parse_fraction(const char **pos, struct fraction *ret)
{
    *ret = (struct fraction){.den = 1};
    if (**pos != '.')
        return 0;

    const char *p = *pos + 1;
    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (int i = 0; isdigit((unsigned char)*p); i++, p++) {
        if (i >= FRACTION_DIGITS)
            continue;
        ret->num = ret->num * 10 + (uint64_t)(*p - '0');
        ret->den *= 10;
    }
    ret->present = true;
    *pos = p;
    return 0;
}

/* What may follow the number, up to the end of the text; *ret is the power of two it stands for. */
static int parse_suffix(const char *text, unsigned *ret)
{
    if (text[0] == ' ' && text[1] != '\0')
        text++;
    if (text[0] == '\0' || strcasecmp(text, "B") == 0) {
        *ret = 0;
        return 0;
    }

    const char *letter = strchr(unit_letters + 1, toupper((unsigned char)text[0]));
    if (letter == NULL)
        return -EINVAL;
    const char *rest = text + 1;
    if (*rest != '\0' && strcasecmp(rest, "B") != 0 && strcasecmp(rest, "iB") != 0)
        return -EINVAL;
    *ret = (unsigned)(letter - unit_letters) * SHIFT_STEP;
    return 0;
}

int briq_size_parse(const char *text, uint64_t *ret_bytes)
{
    uint64_t whole;
    struct fraction fraction;
    unsigned shift;

    int r = parse_whole(&text, &whole);
    if (r == 0)
        r = parse_fraction(&text, &fraction);
    if (r == 0)
        r = parse_suffix(text, &shift);
    if (r < 0)
        return r;
    if (fraction.present && shift == 0)
        return -EINVAL;
    if (whole > PARSED_BYTES_MAX >> shift)
        return -ERANGE;

    /* Below one unit, so the sum still fits: whole << shift has its low bits clear. */
    uint64_t part = (uint64_t)(((unsigned __int128)fraction.num << shift) / fraction.den);
    *ret_bytes = (whole << shift) + part;
    return 0;
}

const char *briq_size_format(uint64_t bytes, char text[BRIQ_SIZE_TEXT_MAX])
{
    unsigned shift = 0;
    while (shift < SHIFT_MAX && bytes >> shift >= 1024)
        shift += SHIFT_STEP;

    uint64_t unit = UINT64_C(1) << shift;
    uint64_t whole = bytes >> shift;
    uint64_t rest = bytes & (unit - 1);
    uint64_t tenths = (rest * 10 + unit / 2) >> shift;
    if (tenths == 10) {
        whole++;
        tenths = 0;
    }
    if (whole == 1024 && shift < SHIFT_MAX) { /* 1023.96 KiB would be shown as 1024.0 KiB */
        whole = 1;
        shift += SHIFT_STEP;
    }

    char letter = unit_letters[shift / SHIFT_STEP];
    if (shift == 0)
        snprintf(text, BRIQ_SIZE_TEXT_MAX, "%llu B", (unsigned long long)whole);
    else if (rest == 0)
        snprintf(text, BRIQ_SIZE_TEXT_MAX, "%llu %ciB", (unsigned long long)whole, letter);
    else
        snprintf(text, BRIQ_SIZE_TEXT_MAX, "%llu.%llu %ciB", (unsigned long long)whole,
                 (unsigned long long)tenths, letter);
    return text;
}
