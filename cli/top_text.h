/* SPDX-License-Identifier: BSD-3-Clause */
/* top_text.h - a screen of `briq top`, as text. */
#ifndef BRIQ_CLI_TOP_TEXT_H
#define BRIQ_CLI_TOP_TEXT_H

#include <stdbool.h>
#include <stdio.h>

struct json_object;

enum briq_top_order {
    BRIQ_TOP_BY_OPS,
    BRIQ_TOP_BY_BYTES,
    BRIQ_TOP_BY_LATENCY,
    BRIQ_TOP_BY_NAME,
};

struct briq_top_screen {
    enum briq_top_order order;
    unsigned rows, columns; /* rows 0: as many as it takes; columns at least 40 */
    bool colours;           /* headings stand out */
};

/* Writes what daemons (of briq_live_read_change()) did in that time. False: out of memory. */
bool briq_top_text(const struct briq_top_screen *screen, struct json_object *daemons,
                   double seconds, FILE *out);

#endif
