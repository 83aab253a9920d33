/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_args.h"

#include <errno.h>
#include <string.h>

#include "cli/warnings.h"

#define MICROSECOND_NS UINT64_C(1000)
#define SECOND_NS      UINT64_C(1000000000)

static int engine_of(const char *text, enum briq_engine *ret, struct briq_error *err)
{
    static const char *const names[] = {[BRIQ_ENGINE_AUTO] = "auto",
                                        [BRIQ_ENGINE_RING] = "ring",
                                        [BRIQ_ENGINE_THREADS] = "threads"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum briq_engine)i;
            return 0;
        }
    }
    return briq_error_set(err, -EINVAL, "--engine: \"%s\" is not auto, ring or threads", text);
}

struct briq_log briq_serve_log(const struct serve_args *a)
{
    if (a->daemon)
        return briq_warnings_syslog(a->verbose);
    return a->verbose ? briq_warnings_everything() : briq_warnings_log();
}

int briq_serve_server_options(const struct serve_args *a, struct briq_socket_file *file,
                              struct briq_server_options *ret, struct briq_error *err)
{
    *ret = (struct briq_server_options){
        .threads = (unsigned)a->threads,
        .max_connections = (unsigned)a->max_connections,
        .handshake_ns = a->handshake_s * SECOND_NS,
        .drain_ns = a->drain_s * SECOND_NS,
        .spin_ns = a->spin_us * MICROSECOND_NS,
        .send_bytes = (uint32_t)a->send_bytes,
        .recv_bytes = (uint32_t)a->recv_bytes,
        .log = briq_serve_log(a),
    };
    int r = engine_of(a->engine, &ret->engine, err);
    return r < 0 ? r : briq_serve_security_options(&a->security, file, ret, err);
}

int briq_serve_open_options(const struct serve_args *a, struct briq_open_options *ret,
                            struct briq_error *err)
{
    bool direct = strcmp(a->io, "direct") == 0;
    if (!direct && strcmp(a->io, "buffered") != 0)
        return briq_error_set(err, -EINVAL, "--io: \"%s\" is not buffered or direct", a->io);
    if (!direct && a->cache_bytes != BRIQ_SERVE_CACHE_DEFAULT)
        return briq_error_set(err, -EINVAL, "--cache is the cache of --io direct");
    if (a->windows_dir != NULL && a->no_windows_file)
        return briq_error_set(err, -EINVAL,
                              "--windows-dir and --no-windows-file contradict each other");
    *ret = (struct briq_open_options){
        .read_only = a->read_only,
        .direct = direct,
        /* To the store 0 is its default and UINT64_MAX is none; to people 0 is none. */
        .cache_bytes = a->cache_bytes == BRIQ_SERVE_CACHE_DEFAULT ? 0
                       : a->cache_bytes == 0                      ? UINT64_MAX
                                                                  : a->cache_bytes,
        .accel = (unsigned)a->accel,
        .streams = (unsigned)a->streams,
        .no_windows_file = a->no_windows_file,
        .windows_dir = a->windows_dir,
        .log = briq_serve_log(a),
    };
    return 0;
}

int briq_serve_device_options(const struct serve_args *a, struct briq_ublk_options *ret,
                              struct briq_error *err)
{
    *ret =
        (struct briq_ublk_options){.id = (uint32_t)a->id, .spin_ns = a->spin_us * MICROSECOND_NS};
    int r = briq_ublk_read_threads(&a->ublk_threads, err, ret);
    return r == 0 ? briq_ublk_read_shape(&a->shape, err, ret) : r;
}
