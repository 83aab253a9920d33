/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/utf8.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/attr.h"

static bool is_longer_than_needed(const unsigned char *c, unsigned len)
{
    return (len == 3 && c[0] == 0xe0 && c[1] < 0xa0) || (len == 4 && c[0] == 0xf0 && c[1] < 0x90);
}

/* Halves of pairs in UTF-16, and what lies behind the last plane. */
static bool is_no_character(const unsigned char *c, unsigned len)
{
    return (len == 3 && c[0] == 0xed && c[1] >= 0xa0) || (len == 4 && c[0] == 0xf4 && c[1] >= 0x90);
}

unsigned briq_utf8_length(const char *text, size_t left)
{
    const unsigned char *c = (const unsigned char *)text;
    if (left == 0)
        return 0;
    unsigned len = c[0] < 0x80                    ? 1
                   : c[0] >= 0xc2 && c[0] <= 0xdf ? 2
                   : (c[0] & 0xf0) == 0xe0        ? 3
                   : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4
                                                  : 0;
    if (len > left)
        return 0;
    for (unsigned i = 1; i < len; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return is_longer_than_needed(c, len) || is_no_character(c, len) ? 0 : len;
}

/* Those of ASCII, and those of ISO 8859, which some terminals obey. */
static bool is_control(const unsigned char *c, unsigned len)
{
    return (len == 1 && (c[0] < 0x20 || c[0] == 0x7f)) || (len == 2 && c[0] == 0xc2 && c[1] < 0xa0);
}

void briq_utf8_clean(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        unsigned step = briq_utf8_length(text + at, len - at);
        bool shown = step > 0 && !is_control((const unsigned char *)text + at, step);
        step = step > 0 ? step : 1;
        if (!shown)
            memset(text + at, '?', step);
        at += step;
    }
}

size_t briq_utf8_clip(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t end = max;
    while (end > 0 && max - end < 3 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    return end;
}
