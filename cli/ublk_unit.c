/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ublk_unit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ublk_socket.h"
#include "cli/verb.h"

struct briq_ublk_unit {
    struct briq_ublk_device *device;
    struct briq_ublk_owner owner;
    struct briq_store *store; /* NULL for the device without one */
    int socket_fd;            /* other verbs ask here */
    bool leaving;             /* another server is to take the device over */
};

/* ---- beginning ------------------------------------------------------------------------------- */

/* A volume in memory dies with its server: a device that waited for another one would wait for
 * ever, or show zeros where there was data. */
static void settle_death(const struct briq_ublk_unit_setup *setup,
                         struct briq_ublk_options *options)
{
    if (setup->store != NULL && briq_store_in_memory(setup->store))
        options->wishes.on_death = BRIQ_UBLK_REMOVE;
}

static int make_device(struct briq_ublk_unit *unit, const struct briq_ublk_unit_setup *setup,
                       struct briq_error *err)
{
    struct briq_ublk_options options = setup->options;
    options.null_bytes = setup->what.null_bytes;
    settle_death(setup, &options);
    return setup->recover
               ? briq_ublk_device_recover(setup->control, setup->store, &options, err,
                                          &unit->device)
               : briq_ublk_device_add(setup->control, setup->store, &options, err, &unit->device);
}

static int announce(struct briq_ublk_unit *unit, const struct briq_ublk_unit_setup *setup,
                    struct briq_error *err)
{
    uint32_t id = briq_ublk_device_id(unit->device);
    struct briq_ublk_record *what = malloc(sizeof *what);
    if (what == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    *what = setup->what;
    what->pid = getpid();
    int r = briq_ublk_record_write(id, what, err);
    free(what);
    if (r < 0)
        return r;
    unit->socket_fd = briq_ublk_socket_listen(id, err);
    return unit->socket_fd < 0 ? unit->socket_fd : 0;
}

/* A device that is live, but cannot be found by others. One that waited for a server waits on. */
static void give_up(struct briq_ublk_unit *unit, bool recover)
{
    struct briq_error ignored = {""};
    bool left;
    if (recover)
        briq_ublk_device_leave(unit->device);
    else if (briq_ublk_device_stop(unit->device, &ignored) < 0)
        briq_ublk_die();
    briq_ublk_unit_join(unit);
    (void)briq_ublk_unit_close(unit, &ignored, &left);
}

int briq_ublk_unit_open(const struct briq_ublk_unit_setup *setup, struct briq_error *err,
                        struct briq_ublk_unit **ret)
{
    struct briq_ublk_unit *unit = calloc(1, sizeof *unit);
    if (unit == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    unit->owner = setup->owner;
    unit->store = setup->store;
    unit->socket_fd = -1;
    int r = make_device(unit, setup, err);
    if (r < 0) {
        free(unit);
        return r;
    }
    r = announce(unit, setup, err);
    if (r < 0)
        give_up(unit, setup->recover);
    else
        *ret = unit;
    return r;
}

struct briq_ublk_device *briq_ublk_unit_device(struct briq_ublk_unit *unit)
{
    return unit->device;
}

/* ---- what others ask ------------------------------------------------------------------------- */

/* "1073741824" or "+1073741824": the new size. */
static int grow(struct briq_ublk_unit *unit, const char *text, struct briq_error *err)
{
    bool more = text[0] == '+';
    if (unit->store == NULL)
        return briq_error_set(err, -EOPNOTSUPP, "it has no volume that could grow");
    int r = briq_ublk_device_can_grow(unit->device, err);
    if (r == 0)
        r = unit->owner.resize(unit->owner.opaque, strtoull(more ? text + 1 : text, NULL, 10), more,
                               err);
    return r == 0 ? briq_ublk_device_grown(unit->device, err) : r;
}

static void print_stat(const struct briq_ublk_unit *unit, char *reply, size_t room)
{
    FILE *out = fmemopen(reply, room, "w");
    if (out == NULL) {
        snprintf(reply, room, "error out of memory");
        return;
    }
    fprintf(out, "ok ");
    briq_ublk_device_print(unit->device, out);
    fclose(out);
}

static void handle(void *opaque, const char *request, char *reply, size_t room)
{
    struct briq_ublk_unit *unit = opaque;
    struct briq_error err = {""};
    int r = -EINVAL;
    if (strcmp(request, "stat") == 0) {
        print_stat(unit, reply, room);
        return;
    }
    if (strcmp(request, "leave") == 0) {
        r = unit->owner.leave(unit->owner.opaque, &err);
        unit->leaving = r == 0;
    } else if (strncmp(request, "resize ", 7) == 0) {
        r = grow(unit, request + 7, &err);
    } else {
        (void)briq_error_set(&err, r, "this server does not know \"%s\"", request);
    }
    if (r < 0)
        snprintf(reply, room, "error %s", err.text[0] != '\0' ? err.text : strerror(-r));
    else
        snprintf(reply, room, "ok");
}

/* ---- serving --------------------------------------------------------------------------------- */

/* False: there is nothing to tell the owner. */
static bool look(struct briq_ublk_unit *unit, const struct pollfd fds[3],
                 enum briq_ublk_unit_event *ret, struct briq_error *err)
{
    *ret = BRIQ_UBLK_UNIT_TOLD;
    if (fds[0].revents != 0)
        return true;
    if (fds[1].revents != 0) {
        enum briq_ublk_end end = briq_ublk_device_ended(unit->device, err);
        *ret = end == BRIQ_UBLK_FAILED ? BRIQ_UBLK_UNIT_FAILED : BRIQ_UBLK_UNIT_ENDED;
        if (end != BRIQ_UBLK_SERVING)
            return true;
    }
    if (fds[2].revents != 0)
        briq_ublk_socket_serve(unit->socket_fd, handle, unit);
    *ret = BRIQ_UBLK_UNIT_LEAVE;
    return unit->leaving;
}

enum briq_ublk_unit_event briq_ublk_unit_serve(struct briq_ublk_unit *unit, int wake_fd,
                                               struct briq_error *err)
{
    struct pollfd fds[3] = {
        {.fd = wake_fd, .events = POLLIN},
        {.fd = briq_ublk_device_event_fd(unit->device), .events = POLLIN},
        {.fd = unit->socket_fd, .events = POLLIN},
    };
    enum briq_ublk_unit_event event;
    for (;;) {
        int n = poll(fds, BRIQ_COUNT_OF(fds), -1);
        if (n < 0 && errno != EINTR) {
            (void)briq_error_set(err, -errno, "poll: %s", strerror(errno));
            return BRIQ_UBLK_UNIT_FAILED;
        }
        if (n > 0 && look(unit, fds, &event, err))
            return event;
    }
}

/* ---- ending ---------------------------------------------------------------------------------- */

void briq_ublk_unit_join(struct briq_ublk_unit *unit)
{
    if (unit->socket_fd >= 0)
        close(unit->socket_fd);
    unit->socket_fd = -1;
    briq_ublk_device_join(unit->device);
}

int briq_ublk_unit_close(struct briq_ublk_unit *unit, struct briq_error *err, bool *ret_left)
{
    *ret_left = false;
    if (unit == NULL)
        return 0;
    uint32_t id = briq_ublk_device_id(unit->device);
    int r = briq_ublk_device_close(unit->device, err, ret_left);
    if (!*ret_left)
        briq_ublk_record_remove(id);
    free(unit);
    return r;
}

void briq_ublk_die(void)
{
    _exit(BRIQ_EXIT_FAILED);
}
