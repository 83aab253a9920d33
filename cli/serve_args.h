/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_args.h - the options of "briq serve", as given, and what they mean. Thread: any. */
#ifndef BRIQ_CLI_SERVE_ARGS_H
#define BRIQ_CLI_SERVE_ARGS_H

#include "cli/serve_security.h"
#include "cli/ublk_options.h"
#include "cli/verb.h"
#include "common/base/log.h"
#include "server/server.h"
#include "ublk-frontend/device.h"

#define BRIQ_SERVE_CACHE_DEFAULT UINT64_MAX /* no --cache was given */

/* NULL and 0: not given, unless the verb's defaults say otherwise. */
struct serve_args {
    struct briq_words volumes, nbd;
    uint64_t threads, max_connections, handshake_s, drain_s, spin_us, send_bytes, recv_bytes;
    const char *engine, *io, *windows_dir;
    uint64_t cache_bytes, accel, streams;
    const char *run, *pid_file;
    const char *control, *metrics;
    bool no_control;
    bool read_only, no_windows_file, swap, print_uri, verbose, stdio, daemon;
    struct serve_security security;
    struct briq_words ublk;
    uint64_t id;
    struct briq_ublk_shape_words shape;
    struct briq_ublk_thread_words ublk_threads;
};

/* Where what happens is told. */
struct briq_log briq_serve_log(const struct serve_args *args);

/* 0, or -EINVAL and the like explained in err. *file is a part of *ret, and must live until the server
 * is open. Blocks (names of users). */
int briq_serve_server_options(const struct serve_args *args, struct briq_socket_file *file,
                              struct briq_server_options *ret, struct briq_error *err) BRIQ_MUST;

/* How volumes are opened. 0, or -EINVAL explained in err. */
int briq_serve_open_options(const struct serve_args *args, struct briq_open_options *ret,
                            struct briq_error *err) BRIQ_MUST;

/* What block devices are like. 0, or -EINVAL explained in err. */
int briq_serve_device_options(const struct serve_args *args, struct briq_ublk_options *ret,
                              struct briq_error *err) BRIQ_MUST;

#endif
