/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.h - what is known of a served device, kept beside the kernel's own facts: which volume it
 * is, and how it was opened. It outlives its server, so that `recover` needs only a number.
 *
 * A file ublkN of "name=value" lines, readable by its owner alone, in /run/briq, or in
 * $XDG_RUNTIME_DIR/briq of a user without CAP_SYS_ADMIN.
 */
#ifndef BRIQ_UBLK_RECORD_H
#define BRIQ_UBLK_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

struct briq_ublk_record {
    char volume[PATH_MAX]; /* absolute, or mem:SIZE; empty: the device without a store */
    uint64_t null_bytes;   /* its size then */
    bool read_only, direct, no_windows_file;
    uint64_t cache_bytes;       /* as in briq_open_options */
    char windows_dir[PATH_MAX]; /* absolute; empty: the default */
    pid_t pid;                  /* of the server that wrote it */
};

/* Whether there is a place for records: 0, or -ENOENT explained in err. */
int briq_ublk_record_check(struct briq_error *err) BRIQ_MUST;

/* Writes it for device `id`, replacing an older one at once. 0, or -errno explained in err. */
int briq_ublk_record_write(uint32_t id, const struct briq_ublk_record *record,
                           struct briq_error *err) BRIQ_MUST;

/* 0; -ENOENT: there is none; -EUCLEAN: it makes no sense; other -errno. Explained in err. */
int briq_ublk_record_read(uint32_t id, struct briq_ublk_record *ret,
                          struct briq_error *err) BRIQ_MUST;

void briq_ublk_record_remove(uint32_t id);

/* Where the server of device `id` listens for requests of other processes. */
void briq_ublk_record_socket(uint32_t id, char *path, size_t room);

/* The text of a record and back, apart from files. Pure. */
int briq_ublk_record_format(const struct briq_ublk_record *record, char *text,
                            size_t room) BRIQ_MUST;
int briq_ublk_record_parse(const char *text, struct briq_ublk_record *ret) BRIQ_MUST;

#endif
