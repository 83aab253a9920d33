/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_control.c - verbs that work on all of a running server. Those that work on one of its
 * exports are in serve_exports.c.
 */
#include "cli/serve_control.h"

#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/latency.h"
#include "cli/serve_exports.h"
#include "cli/serve_report.h"
#include "cli/serve_snapshot.h"
#include "common/base/clock.h"
#include "common/control/fields.h"
#include "common/control/server.h"

#define MILLISECOND_NS UINT64_C(1000000)

struct briq_serve_control {
    struct briq_serve_setup setup;
    struct briq_control_server *socket;
    struct json_object *baseline; /* a report, for snapshot-stats; NULL: none yet. Thread: the
                                   * socket's */
    uint64_t since_ns;            /* of the baseline */
    int end_fd;                   /* an eventfd: a client wants the daemon to end */
    pthread_mutex_t lock;
    pthread_cond_t closed;
    bool over; /* under the lock: the server is closed, with this outcome */
    int outcome;
};

/* ---- verbs ----------------------------------------------------------------------------------- */

static int take_report(struct json_object *report, struct json_object **ret, struct briq_error *err)
{
    if (report == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    *ret = report;
    return 0;
}

static int run_list(void *opaque, struct briq_control_request *request, struct json_object *args,
                    struct json_object **ret, struct briq_error *err)
{
    struct briq_serve_control *control = opaque;
    (void)request;
    (void)args;
    return take_report(briq_serve_list(control->setup.server, control->setup.devices), ret, err);
}

static int run_stat(void *opaque, struct briq_control_request *request, struct json_object *args,
                    struct json_object **ret, struct briq_error *err)
{
    struct briq_serve_control *control = opaque;
    (void)request;
    (void)args;
    return take_report(briq_serve_report(control->setup.server, control->setup.devices), ret, err);
}

/* {"verb": "snapshot-stats", "reset": false} */
static int run_snapshot(void *opaque, struct briq_control_request *request,
                        struct json_object *args, struct json_object **ret, struct briq_error *err)
{
    struct briq_serve_control *control = opaque;
    struct json_object *now = briq_serve_report(control->setup.server, control->setup.devices);
    struct json_object *same = NULL;
    bool reset = false;
    (void)request;
    int r = briq_field_bool(args, "reset", &reset, err);
    if (r == 0 && (now == NULL || json_object_deep_copy(now, &same, NULL) < 0))
        r = briq_error_set(err, -ENOMEM, "out of memory");
    uint64_t at_ns = briq_clock_ns();
    if (r == 0) {
        briq_snapshot_subtract(now, control->baseline);
        briq_latency_refresh(now);
        if (!briq_field_set_number(now, "milliseconds",
                                   (at_ns - control->since_ns) / MILLISECOND_NS))
            r = briq_error_set(err, -ENOMEM, "out of memory");
    }
    if (r < 0 || !reset) {
        json_object_put(same);
    } else {
        json_object_put(control->baseline);
        control->baseline = same;
        control->since_ns = at_ns;
    }
    if (r == 0)
        *ret = now;
    else
        json_object_put(now);
    return r;
}

/* Answers when the volumes are closed. */
static int run_shutdown(void *opaque, struct briq_control_request *request,
                        struct json_object *args, struct json_object **ret, struct briq_error *err)
{
    struct briq_serve_control *control = opaque;
    (void)request;
    (void)args;
    (void)eventfd_write(control->end_fd, 1);
    pthread_mutex_lock(&control->lock);
    while (!control->over)
        pthread_cond_wait(&control->closed, &control->lock);
    int r = control->outcome;
    pthread_mutex_unlock(&control->lock);
    struct json_object *result = json_object_new_object();
    bool fine = briq_field_set_bool(result, "clean", r == 0);
    if (r < 0)
        fine = fine && briq_field_set_text(result, "why", strerror(-r));
    if (!fine) {
        json_object_put(result);
        result = NULL;
    }
    return take_report(result, ret, err);
}

static const struct briq_control_verb verbs[] = {
    {.name = "list", .pace = BRIQ_CONTROL_QUICK, .run = run_list},
    {.name = "stat", .pace = BRIQ_CONTROL_QUICK, .run = run_stat},
    {.name = "snapshot-stats", .pace = BRIQ_CONTROL_QUICK, .run = run_snapshot},
    {.name = "shutdown", .pace = BRIQ_CONTROL_TO_THE_END, .run = run_shutdown},
};

/* ---- life ------------------------------------------------------------------------------------ */

static void free_control(struct briq_serve_control *control)
{
    briq_control_server_close(control->socket);
    json_object_put(control->baseline);
    if (control->end_fd >= 0)
        close(control->end_fd);
    pthread_mutex_destroy(&control->lock);
    pthread_cond_destroy(&control->closed);
    free(control);
}

int briq_serve_control_open(const struct briq_serve_setup *setup, struct briq_error *err,
                            struct briq_serve_control **ret)
{
    struct briq_serve_control *control = calloc(1, sizeof *control);
    if (control == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    control->setup = *setup;
    control->since_ns = briq_clock_ns();
    pthread_mutex_init(&control->lock, NULL);
    pthread_cond_init(&control->closed, NULL);
    control->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = control->end_fd < 0 ? briq_error_set(err, -errno, "eventfd: %s", strerror(errno)) : 0;
    if (r == 0)
        r = briq_control_server_open(setup->socket, &setup->log, err, &control->socket);
    if (r < 0) {
        free_control(control);
        return r;
    }
    for (size_t i = 0; i < BRIQ_COUNT_OF(verbs); i++)
        briq_control_server_add(control->socket, &verbs[i], control);
    for (const struct briq_control_verb *verb = briq_serve_export_verbs; verb->name != NULL; verb++)
        briq_control_server_add(control->socket, verb, &control->setup);
    *ret = control;
    return 0;
}

int briq_serve_control_start(struct briq_serve_control *control, struct briq_error *err)
{
    return briq_control_server_start(control->socket, err);
}

const char *briq_serve_control_path(const struct briq_serve_control *control)
{
    return control != NULL ? briq_control_server_path(control->socket) : "";
}

int briq_serve_control_fd(const struct briq_serve_control *control)
{
    return control != NULL ? control->end_fd : -1;
}

void briq_serve_control_quiesce(struct briq_serve_control *control)
{
    if (control != NULL)
        briq_control_server_quiesce(control->socket);
}

void briq_serve_control_close(struct briq_serve_control *control, int outcome)
{
    if (control == NULL)
        return;
    pthread_mutex_lock(&control->lock);
    control->over = true;
    control->outcome = outcome;
    pthread_cond_broadcast(&control->closed);
    pthread_mutex_unlock(&control->lock);
    free_control(control);
}
