/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress.h - how far a long job is, on standard error: a bar on a terminal, redrawn at most ten
 * times a second; else a line every few seconds; nothing when quiet.
 *
 * Thread: one, the job's.
 */
#ifndef BRIQ_CLI_PROGRESS_H
#define BRIQ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum briq_progress_unit {
    BRIQ_PROGRESS_BYTES,
    BRIQ_PROGRESS_ITEMS, /* counted, without a rate in bytes */
};

struct briq_progress {
    const char *what; /* the job's name at the start of the line */
    enum briq_progress_unit unit;
    uint64_t total; /* 0 when nobody knows */
    bool quiet, terminal;
    bool drawn; /* a bar stands on the terminal's current line */
    uint64_t start_ns, shown_ns;
    uint64_t shown_done;
    double rate; /* units a second, smoothed */
};

/* `what` must stay valid. */
void briq_progress_init(struct briq_progress *p, const char *what, enum briq_progress_unit unit,
                        uint64_t total, bool quiet);

/* Shows `done` when it is time to. Cheap otherwise. */
void briq_progress_update(struct briq_progress *p, uint64_t done);

/* How long a caller that waits may sleep until the next picture is due. */
int briq_progress_interval_ms(const struct briq_progress *p);

/* Removes the bar, so that the terminal's line is free for what is said next. */
void briq_progress_end(struct briq_progress *p);

#endif
