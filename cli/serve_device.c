/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_device.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/ublk_unit.h"

enum state {
    STARTING,
    LIVE,
    ENDING, /* its figures must not be looked at any more */
    OVER,
};

struct briq_serve_device {
    struct briq_serve_device_setup setup; /* what: not after the start */
    char *name;                           /* setup.name */
    struct briq_export *export;           /* held */
    struct briq_store *store;
    pthread_t thread;
    int wake_fd; /* an eventfd: there is a wish */
    uint32_t id;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    enum state state;
    bool asked, answered; /* one wish at a time */
    enum briq_serve_device_wish wish;
    int result; /* of the start, or of the wish */
    struct briq_error err;
    bool held; /* the kernel does not let the thread end: a command of it never returns */

    /* of the thread; others look at a device that is LIVE */
    struct briq_ublk_control *control;
    struct briq_ublk_unit *unit;
};

static void enter(struct briq_serve_device *device, enum state state)
{
    pthread_mutex_lock(&device->lock);
    device->state = state;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int resize(void *opaque, uint64_t bytes, bool more, struct briq_error *err)
{
    const struct briq_serve_device *device = opaque;
    struct briq_resized ignored;
    return briq_server_resize(device->setup.server, device->setup.name, bytes, more, &ignored, err);
}

static int refuse_to_leave(void *opaque, struct briq_error *err)
{
    const struct briq_serve_device *device = opaque;
    return briq_error_set(err, -EBUSY,
                          "its server (pid %d) is a `briq serve`, which has the volume as export "
                          "'%s' too: end that with `briq shutdown`, and the next one takes over",
                          (int)getpid(), device->setup.name);
}

static int open_unit(struct briq_serve_device *device, struct briq_error *err)
{
    const struct briq_serve_device_setup *from = &device->setup;
    int r = briq_ublk_control_open(err, &device->control);
    if (r < 0)
        return r;
    struct briq_ublk_unit_setup *setup = malloc(sizeof *setup);
    if (setup == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    *setup = (struct briq_ublk_unit_setup){
        .control = device->control,
        .store = device->store,
        .recover = from->recover,
        .options = from->options,
        .what = *from->what,
        .owner = {.resize = resize, .leave = refuse_to_leave, .opaque = device},
    };
    r = briq_ublk_unit_open(setup, err, &device->unit);
    free(setup);
    return r;
}

/* Only the end of this process frees a device that cannot go on: nothing acknowledged is lost. */
static void die(const struct briq_serve_device *device, const struct briq_error *err)
{
    briq_log_line(&device->setup.log, BRIQ_LOG_ERROR,
                  "%s; this server ends, and the next one takes over", err->text);
    briq_ublk_die();
}

static void answer(struct briq_serve_device *device, int r, const struct briq_error *err)
{
    pthread_mutex_lock(&device->lock);
    device->answered = true;
    device->result = r;
    device->err = *err;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
}

/* True: the device goes on. One that is to end is answered for by its end. */
static bool grant(struct briq_serve_device *device)
{
    struct briq_ublk_device *of = briq_ublk_unit_device(device->unit);
    struct briq_error err = {""};
    eventfd_t ignored;
    (void)eventfd_read(device->wake_fd, &ignored);
    pthread_mutex_lock(&device->lock);
    bool asked = device->asked && !device->answered;
    enum briq_serve_device_wish wish = device->wish;
    pthread_mutex_unlock(&device->lock);
    if (!asked)
        return true;
    if (wish == BRIQ_SERVE_DEVICE_LEAVE && briq_serve_device_recoverable(device)) {
        briq_ublk_device_leave(of);
        return false;
    }
    bool grown = wish == BRIQ_SERVE_DEVICE_GROWN;
    int r = grown ? briq_ublk_device_grown(of, &err) : briq_ublk_device_stop(of, &err);
    if (r == 0 && !grown)
        return false;
    answer(device, r, &err);
    return true;
}

static void serve(struct briq_serve_device *device)
{
    struct briq_error err = {""};
    for (;;) {
        switch (briq_ublk_unit_serve(device->unit, device->wake_fd, &err)) {
        case BRIQ_UBLK_UNIT_TOLD:
            if (!grant(device))
                return;
            break;
        case BRIQ_UBLK_UNIT_ENDED:
            briq_log_line(&device->setup.log, BRIQ_LOG_INFO,
                          "/dev/ublkb%" PRIu32 " was stopped; export '%s' goes on", device->id,
                          device->setup.name);
            return;
        case BRIQ_UBLK_UNIT_LEAVE: /* never: it is refused */
        case BRIQ_UBLK_UNIT_FAILED:
            die(device, &err);
        }
    }
}

static void tear_down(struct briq_serve_device *device)
{
    struct briq_error err = {""};
    bool left;
    enter(device, ENDING);
    if (device->unit != NULL)
        briq_ublk_unit_join(device->unit);
    briq_server_release(device->setup.server, device->export);
    int r = briq_ublk_unit_close(device->unit, &err, &left);
    if (r < 0)
        briq_log_line(&device->setup.log, BRIQ_LOG_WARNING, "%s", err.text);
    pthread_mutex_lock(&device->lock);
    device->held = device->control != NULL && briq_ublk_control_stuck(device->control);
    pthread_mutex_unlock(&device->lock);
    briq_ublk_control_close(device->control);
    enter(device, OVER);
}

static void *device_main(void *arg)
{
    struct briq_serve_device *device = arg;
    struct briq_error err = {""};
    int r = open_unit(device, &err);
    if (r == 0) {
        device->id = briq_ublk_device_id(briq_ublk_unit_device(device->unit));
        enter(device, LIVE);
        serve(device);
    } else {
        answer(device, r, &err);
    }
    tear_down(device);
    return NULL;
}

/* ---- for others ------------------------------------------------------------------------------ */

static int new_device(const struct briq_serve_device_setup *setup, struct briq_error *err,
                      struct briq_serve_device **ret)
{
    struct briq_serve_device *device = calloc(1, sizeof *device);
    char *name = strdup(setup->name);
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (device == NULL || name == NULL || wake_fd < 0) {
        free(device);
        free(name);
        if (wake_fd >= 0)
            close(wake_fd);
        return briq_error_set(err, -ENOMEM, "out of memory");
    }
    device->setup = *setup;
    device->setup.name = device->name = name;
    device->wake_fd = wake_fd;
    pthread_mutex_init(&device->lock, NULL);
    pthread_cond_init(&device->changed, NULL);
    *ret = device;
    return 0;
}

static void free_device(struct briq_serve_device *device)
{
    close(device->wake_fd);
    pthread_mutex_destroy(&device->lock);
    pthread_cond_destroy(&device->changed);
    free(device->name);
    free(device);
}

/* Until it is live, or nothing is left of it. */
static int wait_started(struct briq_serve_device *device, struct briq_error *err)
{
    pthread_mutex_lock(&device->lock);
    while (device->state == STARTING || device->state == ENDING)
        pthread_cond_wait(&device->changed, &device->lock);
    int r = device->answered ? device->result : 0;
    if (r < 0)
        *err = device->err;
    pthread_mutex_unlock(&device->lock);
    return r;
}

int briq_serve_device_start(const struct briq_serve_device_setup *setup, struct briq_error *err,
                            struct briq_serve_device **ret)
{
    struct briq_serve_device *device = NULL;
    int r = new_device(setup, err, &device);
    if (r < 0)
        return r;
    r = briq_server_hold(setup->server, setup->name, &device->export, &device->store, err);
    if (r < 0) {
        free_device(device);
        return r;
    }
    r = -pthread_create(&device->thread, NULL, device_main, device);
    if (r < 0) {
        briq_server_release(setup->server, device->export);
        free_device(device);
        return briq_error_set(err, r, "a thread for the device: %s", strerror(-r));
    }
    r = wait_started(device, err);
    if (r < 0)
        briq_serve_device_free(device);
    else
        *ret = device;
    return r;
}

uint32_t briq_serve_device_id(const struct briq_serve_device *device)
{
    return device->id;
}

bool briq_serve_device_over(struct briq_serve_device *device)
{
    pthread_mutex_lock(&device->lock);
    bool over = device->state == OVER;
    pthread_mutex_unlock(&device->lock);
    return over;
}

int briq_serve_device_ask(struct briq_serve_device *device, enum briq_serve_device_wish wish,
                          struct briq_error *err)
{
    int r = 0;
    pthread_mutex_lock(&device->lock);
    while (device->asked && device->state != OVER)
        pthread_cond_wait(&device->changed, &device->lock);
    if (device->state != OVER) {
        device->asked = true;
        device->answered = false;
        device->wish = wish;
        (void)eventfd_write(device->wake_fd, 1);
        while (!device->answered && device->state != OVER)
            pthread_cond_wait(&device->changed, &device->lock);
        r = device->answered ? device->result : 0;
        if (r < 0)
            *err = device->err;
        device->asked = false;
        pthread_cond_broadcast(&device->changed);
    }
    pthread_mutex_unlock(&device->lock);
    return r;
}

int briq_serve_device_can_grow(struct briq_serve_device *device, struct briq_error *err)
{
    pthread_mutex_lock(&device->lock);
    int r = device->state == LIVE
                ? briq_ublk_device_can_grow(briq_ublk_unit_device(device->unit), err)
                : 0;
    pthread_mutex_unlock(&device->lock);
    return r;
}

bool briq_serve_device_recoverable(struct briq_serve_device *device)
{
    pthread_mutex_lock(&device->lock);
    bool can = device->state == LIVE &&
               (briq_ublk_device_info(briq_ublk_unit_device(device->unit))->flags &
                UBLK_F_USER_RECOVERY) != 0;
    pthread_mutex_unlock(&device->lock);
    return can;
}

bool briq_serve_device_facts(struct briq_serve_device *device, struct briq_serve_device_facts *ret,
                             void (*figures)(void *opaque, const struct briq_ublk_figures *of),
                             void *opaque)
{
    struct briq_ublk_figures each;
    pthread_mutex_lock(&device->lock);
    bool live = device->state == LIVE;
    if (live) {
        const struct briq_ublk_device *of = briq_ublk_unit_device(device->unit);
        const struct ublk_dev_info *info = briq_ublk_device_info(of);
        *ret = (struct briq_serve_device_facts){
            .id = info->dev_id, .queues = info->queues, .depth = info->depth};
        for (unsigned i = 0; figures != NULL && briq_ublk_device_figures(of, i, &each); i++)
            figures(opaque, &each);
    }
    pthread_mutex_unlock(&device->lock);
    return live;
}

void briq_serve_device_free(struct briq_serve_device *device)
{
    pthread_mutex_lock(&device->lock);
    while (device->state != OVER)
        pthread_cond_wait(&device->changed, &device->lock);
    bool held = device->held;
    pthread_mutex_unlock(&device->lock);
    if (held) {
        pthread_detach(device->thread); /* it stays, with the device */
        return;
    }
    pthread_join(device->thread, NULL);
    free_device(device);
}
