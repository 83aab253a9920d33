/* SPDX-License-Identifier: BSD-3-Clause */
/* volume.h - the volume under test: made, opened, closed and checked as the unit says. */
#ifndef BRIQ_TESTS_MODEL_VOLUME_H
#define BRIQ_TESTS_MODEL_VOLUME_H

#include <stdbool.h>

#include "common/store/store.h"
#include "tests/lib/temp_dir.h"
#include "tests/model/unit.h"

struct volume {
    const struct unit *unit;
    struct report *report;
    struct briq_store *store;
    bool direct; /* the file system takes O_DIRECT */
    char name[TEST_PATH_MAX];
    /* Where nothing may block: carries on what is in flight. Set while operations are. */
    void (*progress)(void *opaque);
    void *progress_opaque;
};

/* Makes the volume and opens it. Every failure, here and below, fails the run. */
void volume_init(struct volume *volume, const struct unit *unit, struct report *report);

/* Whether every call in this unit returns without waiting for another thread. */
bool volume_never_blocks(const struct unit *unit);

/* Closes it, and opens it again, if `read_only` for reading. Not for volumes in memory. */
void volume_reopen(struct volume *volume, bool read_only);

/* Closes the volume and, unless it was in memory, verifies every byte of its file. */
void volume_fini(struct volume *volume);

#endif
