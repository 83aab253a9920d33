/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * params.h - the key=value parameters of the plugin that say how volumes are opened.
 *
 * They hold for every volume of the process. What is wrong is reported with nbdkit_error(), one
 * line that names the parameter; the return value is then -1, as nbdkit wants it. Thread: nbdkit's
 * main thread, before it serves.
 */
#ifndef BRIQ_NBDKIT_PLUGIN_PARAMS_H
#define BRIQ_NBDKIT_PLUGIN_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"

/* Zero-initialised: the defaults. */
struct briq_params {
    bool direct;
    bool cache_given;
    uint64_t cache_bytes;
    unsigned accel;   /* 0: the volume's own */
    unsigned streams; /* 0: by the number of processors */
    bool no_windows_file;
    char *windows_dir; /* absolute, owned; NULL: the store's default */
};

/*
 * Takes one parameter. Returns 1 when the key is one of these and the value is good, 0 when the key
 * is not known here, -1 when the value is bad (reported). Given twice, the later one counts.
 */
int briq_params_set(struct briq_params *params, const char *key, const char *value) BRIQ_MUST;

/* Looks for parameters that contradict each other. 0, or -1 (reported). */
int briq_params_complete(const struct briq_params *params) BRIQ_MUST;

/* What the store wants to know, pointing into params. */
struct briq_open_options briq_params_open_options(const struct briq_params *params);

/* Frees what params holds and makes it the defaults again. */
void briq_params_fini(struct briq_params *params);

#endif
