/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.c - the order in which things happen.
 *
 * ADD_DEV - open /dev/ublkcN - SET_PARAMS - threads ask for requests - START_DEV. No step sleeps:
 * START_DEV itself returns when every tag of every queue has been asked for. The threads run before
 * it, because the kernel reads the device before it returns.
 */
#include "ublk-frontend/device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "ublk-frontend/params.h"
#include "ublk-frontend/worker.h"

/* Kept by the kernel with the device: who made it, so that nobody else's is taken over. */
#define SERVER_MAGIC UINT64_C(0x0001514952420000) /* "BRIQ", version 1 */

#define QUIESCE_MS       5000
#define DELETE_MS        2000
#define RETRY_MS         50
#define OPEN_TRIES_MS    10000 /* udev makes the node, and may look at it first */
#define RECOVER_TRIES_MS 40000 /* Linux 6.12 may take 30 s to notice that a server has died */

struct briq_ublk_device {
    struct briq_ublk_control *control;
    struct briq_store *store;
    struct ublk_dev_info info;
    struct briq_ublk_shared shared;
    struct briq_ublk_worker **workers;
    unsigned worker_count;
    uint32_t block_bytes;
    unsigned helpers; /* as in the options */
    int cancel_fd;
    bool added; /* by us: to be deleted */
    bool left;  /* for the next server */
    bool live;  /* it has been started */
};

/* ---- waiting --------------------------------------------------------------------------------- */

/* For what has no event of its own. 0, or -ECANCELED when cancel_fd became readable. */
static int pause_for(int cancel_fd, int ms)
{
    struct pollfd fd = {.fd = cancel_fd, .events = POLLIN};
    return poll(&fd, 1, ms) > 0 ? -ECANCELED : 0;
}

static const char *explain_node(int r)
{
    switch (r) {
    case -ENOENT:
        return "; does nobody make device nodes here (devtmpfs, udev)?";
    case -EBUSY:
        return "; another process has it open";
    case -EACCES:
        return "; udev has not given it to its owner (60-briq-ublk.rules); what is left of the "
               "device goes with `briq ublk del` as root";
    default:
        return "";
    }
}

/* Opens /dev/ublkcN or /dev/ublkbN, which may not be there yet, or be looked at by others first. */
static int open_node(const struct briq_ublk_device *device, char kind, int flags,
                     struct briq_error *err, int *ret_fd)
{
    char path[32];
    uint64_t end = briq_clock_ns() + OPEN_TRIES_MS * UINT64_C(1000000);
    int r = 0;
    snprintf(path, sizeof path, "/dev/ublk%c%" PRIu32, kind, device->info.dev_id);
    for (;;) {
        *ret_fd = open(path, flags | O_CLOEXEC);
        if (*ret_fd >= 0)
            return 0;
        r = -errno;
        bool may_come = r == -ENOENT || r == -EBUSY || r == -EACCES;
        if (!may_come || briq_clock_ns() >= end || pause_for(device->cancel_fd, RETRY_MS) < 0)
            break;
    }
    return briq_error_set(err, r, "%s: %s%s", path, strerror(-r), explain_node(r));
}

static int open_char(struct briq_ublk_device *device, struct briq_error *err)
{
    return open_node(device, 'c', O_RDWR, err, &device->shared.fd);
}

/* That of root can be used at once, and that of a user when udev has given it to him. */
static int await_block(const struct briq_ublk_device *device, struct briq_error *err)
{
    int fd = -1;
    if (!device->shared.unprivileged)
        return 0;
    int r = open_node(device, 'b', O_RDONLY, err, &fd);
    if (r == 0)
        close(fd);
    return r;
}

/* ---- shape ----------------------------------------------------------------------------------- */

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

static int fill_info(const struct briq_ublk_options *options, const struct briq_ublk_plan *plan,
                     struct briq_error *err, struct ublk_dev_info *ret)
{
    unsigned queues = options->queues != 0
                          ? options->queues
                          : (unsigned)briq_min_u64(processors(), BRIQ_UBLK_QUEUES_AUTO_MAX);
    uint32_t max_io = options->max_io_bytes;
    if (max_io == 0)
        max_io = plan->user_copy ? BRIQ_UBLK_MAX_IO_DEFAULT : BRIQ_UBLK_MAX_IO_PLAIN;
    if (queues * options->wishes.threads_per_queue > BRIQ_UBLK_THREADS_MAX)
        return briq_error_set(err, -EINVAL, "%u queues with %u threads each: %u in all is the most",
                              queues, options->wishes.threads_per_queue, BRIQ_UBLK_THREADS_MAX);
    *ret = (struct ublk_dev_info){
        .queues = (uint16_t)queues,
        .depth = (uint16_t)(options->depth != 0 ? options->depth : BRIQ_UBLK_DEPTH_DEFAULT),
        .max_io_bytes = max_io,
        .dev_id = options->id,
        .flags = plan->flags,
        .server_flags = SERVER_MAGIC,
    };
    return 0;
}

static void fill_shared(struct briq_ublk_device *device, const struct briq_ublk_options *options,
                        const struct briq_ublk_plan *plan)
{
    struct briq_ublk_shared *shared = &device->shared;
    shared->store = device->store;
    shared->user_copy = (device->info.flags & UBLK_F_USER_COPY) != 0;
    shared->drop_admin = plan->drop_admin;
    shared->unprivileged = options->wishes.unprivileged;
    shared->queues = device->info.queues;
    shared->depth = device->info.depth;
    shared->threads_per_queue = options->wishes.threads_per_queue;
    shared->spin_ns = options->spin_ns;
    shared->max_io_bytes = device->info.max_io_bytes;
    shared->piece_bytes = (uint32_t)briq_min_u64(device->info.max_io_bytes, BRIQ_UBLK_PIECE_BYTES);
    shared->affinity = options->affinity;
}

static uint64_t size_of(const struct briq_ublk_device *device, uint64_t null_bytes)
{
    return device->store != NULL ? briq_store_size(device->store) : null_bytes;
}

static int set_params(struct briq_ublk_device *device, const struct briq_ublk_options *options,
                      struct briq_error *err)
{
    const struct briq_ublk_shape shape = {
        .size_bytes = size_of(device, options->null_bytes),
        .read_only = device->store != NULL && briq_store_read_only(device->store),
        .block_bytes = options->block_bytes != 0 ? options->block_bytes : 512,
        .max_io_bytes = device->info.max_io_bytes,
    };
    struct ublk_params params;
    int r = briq_ublk_params_build(&shape, err, &params);
    if (r < 0)
        return r;
    device->block_bytes = shape.block_bytes;
    atomic_store(&device->shared.sectors, params.basic.dev_sectors);
    uint32_t types = params.types;
    r = briq_ublk_set_params(device->control, device->info.dev_id, &params);
    if (r == 0)
        r = briq_ublk_get_params(device->control, device->info.dev_id, &params);
    if (r < 0)
        return briq_error_set(err, r, "the kernel refuses the device's parameters: %s",
                              strerror(-r));
    if ((params.types & types) != types)
        return briq_error_set(err, -EOPNOTSUPP,
                              "the kernel dropped parameters (of types 0x%x, 0x%x)", types,
                              params.types);
    return 0;
}

/* ---- threads --------------------------------------------------------------------------------- */

static int start_queue(struct briq_ublk_device *device, unsigned queue, struct briq_error *err)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    int r = briq_ublk_get_affinity(device->control, device->info.dev_id, queue, &cpus, sizeof cpus);
    if (r < 0)
        return briq_error_set(err, r, "the processors of queue %u: %s", queue, strerror(-r));
    for (unsigned i = 0; i < device->shared.threads_per_queue; i++) {
        r = briq_ublk_worker_start(&device->shared, queue, i, &cpus, err,
                                   &device->workers[device->worker_count]);
        if (r < 0)
            return r;
        device->worker_count++;
    }
    return 0;
}

/* None where no request is ever worked on in pieces. */
static int start_helpers(struct briq_ublk_device *device, unsigned workers, struct briq_error *err)
{
    const struct briq_ublk_shared *shared = &device->shared;
    bool automatic = device->helpers == BRIQ_UBLK_HELPERS_AUTO;
    const struct briq_ublk_helpers_setup setup = {
        .store = device->store,
        .fd = shared->fd,
        .user_copy = shared->user_copy,
        .unprivileged = shared->unprivileged,
        .piece_bytes = shared->piece_bytes,
        .count = automatic ? briq_ublk_helpers_auto() : device->helpers,
        .workers = workers,
        .unasked = automatic,
        .event_fd = shared->event_fd,
    };
    if (setup.store == NULL || setup.count == 0 || shared->max_io_bytes <= shared->piece_bytes)
        return 0;
    return briq_ublk_helpers_open(&setup, err, &device->shared.helpers);
}

static int start_workers(struct briq_ublk_device *device, struct briq_error *err)
{
    unsigned count = device->shared.queues * device->shared.threads_per_queue;
    device->workers = calloc(count, sizeof(struct briq_ublk_worker *));
    if (device->workers == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    int r = start_helpers(device, count, err);
    for (unsigned queue = 0; queue < device->shared.queues && r == 0; queue++)
        r = start_queue(device, queue, err);
    return r;
}

static void free_workers(struct briq_ublk_device *device)
{
    for (unsigned i = 0; i < device->worker_count; i++)
        briq_ublk_worker_free(device->workers[i]);
    device->worker_count = 0;
    free(device->workers);
    device->workers = NULL;
    briq_ublk_helpers_free(device->shared.helpers);
    device->shared.helpers = NULL;
}

static void abandon_workers(struct briq_ublk_device *device)
{
    for (unsigned i = 0; i < device->worker_count; i++)
        briq_ublk_worker_abandon(device->workers[i]);
}

/* START_DEV or END_USER_RECOVERY: returns when all tags have been asked for. */
static int go_live(struct briq_ublk_device *device, unsigned op, struct briq_error *err)
{
    const struct briq_ublk_watch watch = {.fd = device->shared.event_fd, .timeout_ms = -1};
    int r = briq_ublk_simple(device->control, op, device->info.dev_id, (uint64_t)getpid(), &watch);
    if (r == -ECANCELED && briq_ublk_device_ended(device, err) == BRIQ_UBLK_FAILED)
        return r;
    if (r < 0)
        return briq_error_set(err, r, "/dev/ublkb%" PRIu32 " cannot be started: %s",
                              device->info.dev_id, strerror(-r));
    device->live = true;
    r = briq_ublk_get_info(device->control, device->info.dev_id, &device->info);
    return r < 0 ? briq_error_set(err, r, "its state: %s", strerror(-r)) : 0;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int new_device(struct briq_ublk_control *control, struct briq_store *store,
                      const struct briq_ublk_options *options, struct briq_error *err,
                      struct briq_ublk_device **ret)
{
    struct briq_ublk_device *device = calloc(1, sizeof *device);
    if (device == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    device->control = control;
    device->store = store;
    device->cancel_fd = options->cancel_fd;
    device->helpers = options->helpers;
    device->shared.fd = -1;
    device->shared.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (device->shared.event_fd < 0) {
        int r = -errno;
        free(device);
        return briq_error_set(err, r, "eventfd: %s", strerror(-r));
    }
    *ret = device;
    return 0;
}

static int explain_no_answer(const struct briq_ublk_control *control, struct briq_error *err)
{
    return briq_error_set(
        err, -ETIMEDOUT,
        "ADD_DEV has not returned for %d s: this kernel's ublk driver has crashed "
        "(some of 6.17 and 6.18 do); see dmesg, update, restart%s",
        BRIQ_UBLK_WATCHDOG_MS / 1000,
        briq_ublk_control_stuck(control) ? ", before which this process cannot end" : "");
}

static int explain_add(const struct briq_ublk_device *device,
                       const struct briq_ublk_options *options, int r, struct briq_error *err)
{
    switch (r) {
    case -EEXIST:
        return briq_error_set(err, r,
                              "device %" PRIu32 " is there already; see `briq ublk list`, or leave "
                              "--id out",
                              options->id);
    case -EPERM:
    case -EACCES:
        return briq_error_set(err, r,
                              "the kernel allows no new device: CAP_SYS_ADMIN is needed, and there "
                              "may be a limit (/sys/module/ublk_drv/parameters/ublks_max)");
    case -ETIMEDOUT:
        return explain_no_answer(device->control, err);
    case -EINVAL:
        return briq_error_set(err, r,
                              "the kernel refuses the device: its queues, depth, request size or "
                              "flags");
    default:
        return briq_error_set(err, r, "ADD_DEV: %s", strerror(-r));
    }
}

static int plan_for(struct briq_ublk_control *control, const struct briq_ublk_wishes *wishes,
                    struct briq_error *err, struct briq_ublk_plan *ret)
{
    uint64_t features = 0;
    int r = briq_ublk_get_features(control, &features);
    if (r == -EOPNOTSUPP || r == -ENOTTY)
        return briq_error_set(err, r, "this kernel's ublk driver is too old (6.5 is needed)");
    if (r < 0)
        return briq_error_set(err, r, "GET_FEATURES: %s", strerror(-r));
    return briq_ublk_plan_features(features, wishes, err, ret);
}

static int add_to_kernel(struct briq_ublk_device *device, const struct briq_ublk_options *options,
                         const struct briq_ublk_plan *plan, struct briq_error *err)
{
    int r = fill_info(options, plan, err, &device->info);
    if (r < 0)
        return r;
    r = briq_ublk_add(device->control, &device->info);
    if (r < 0)
        return explain_add(device, options, r, err);
    device->added = true;
    fill_shared(device, options, plan);
    return briq_ublk_check_granted(plan->flags, device->info.flags, err);
}

static int bring_up(struct briq_ublk_device *device, const struct briq_ublk_options *options,
                    struct briq_error *err)
{
    struct briq_ublk_plan plan;
    int r = plan_for(device->control, &options->wishes, err, &plan);
    if (r == 0)
        r = add_to_kernel(device, options, &plan, err);
    if (r == 0)
        r = open_char(device, err);
    if (r == 0)
        r = set_params(device, options, err);
    if (r == 0)
        r = start_workers(device, err);
    if (r == 0)
        r = go_live(device, UBLK_CMD_START_DEV, err);
    return r == 0 ? await_block(device, err) : r;
}

/* Of a device that has not come to live, or that nobody can use. */
static void give_up(struct briq_ublk_device *device)
{
    struct briq_error ignored = {""};
    bool left;
    if (!device->live || device->left || briq_ublk_device_stop(device, &ignored) < 0)
        abandon_workers(device);
    (void)briq_ublk_device_close(device, &ignored, &left);
}

int briq_ublk_device_add(struct briq_ublk_control *control, struct briq_store *store,
                         const struct briq_ublk_options *options, struct briq_error *err,
                         struct briq_ublk_device **ret)
{
    struct briq_ublk_device *device = NULL;
    int r = new_device(control, store, options, err, &device);
    if (r < 0)
        return r;
    r = bring_up(device, options, err);
    if (r < 0) {
        give_up(device);
        return r;
    }
    *ret = device;
    return 0;
}

/* ---- recovering ------------------------------------------------------------------------------ */

static int explain_recovery(uint32_t id, int r, struct briq_error *err)
{
    switch (r) {
    case -ENODEV:
    case -ENOENT:
        return briq_error_set(err, r, "there is no device %" PRIu32 "; see `briq ublk list`", id);
    case -EBUSY:
        return briq_error_set(err, r,
                              "device %" PRIu32 " has a server, or something still has "
                              "/dev/ublkc%" PRIu32 " open",
                              id, id);
    case -EINVAL:
        return briq_error_set(err, r,
                              "device %" PRIu32 " cannot be taken over; remove it with `briq ublk "
                              "del %" PRIu32 "`",
                              id, id);
    default:
        return briq_error_set(err, r, "taking over device %" PRIu32 ": %s", id, strerror(-r));
    }
}

/* The kernel needs a moment, or half a minute, to see that the old server is gone. */
static int start_recovery(struct briq_ublk_device *device, struct briq_error *err)
{
    uint64_t end = briq_clock_ns() + RECOVER_TRIES_MS * UINT64_C(1000000);
    int r;
    do
        r = briq_ublk_simple(device->control, UBLK_CMD_START_USER_RECOVERY, device->info.dev_id, 0,
                             NULL);
    while (r == -EBUSY && briq_clock_ns() < end && pause_for(device->cancel_fd, RETRY_MS) == 0);
    return r < 0 ? explain_recovery(device->info.dev_id, r, err) : 0;
}

/* Whether it is one of ours, without a living server, and still of the volume's size. */
static int check_orphan(struct briq_ublk_device *device, uint32_t id, uint64_t null_bytes,
                        struct briq_error *err)
{
    struct ublk_params params;
    int r = briq_ublk_get_info(device->control, id, &device->info);
    if (r == 0)
        r = briq_ublk_get_params(device->control, id, &params);
    if (r < 0)
        return explain_recovery(id, r, err);
    if (device->info.server_flags != SERVER_MAGIC)
        return briq_error_set(err, -EINVAL, "device %" PRIu32 " was not made by briq", id);
    if ((device->info.flags & UBLK_F_USER_RECOVERY) == 0)
        return explain_recovery(id, -EINVAL, err);
    device->block_bytes = 1u << params.basic.logical_bs_shift;
    uint64_t bytes = size_of(device, null_bytes);
    if (params.basic.dev_sectors > bytes / UBLK_SECTOR_BYTES)
        return briq_error_set(err, -EINVAL,
                              "device %" PRIu32 " has %" PRIu64
                              " sectors, more than the volume: it "
                              "is another volume's",
                              id, params.basic.dev_sectors);
    atomic_store(&device->shared.sectors, params.basic.dev_sectors);
    return 0;
}

static int take_over(struct briq_ublk_device *device, const struct briq_ublk_options *options,
                     struct briq_error *err)
{
    struct briq_ublk_wishes wishes = options->wishes;
    struct briq_ublk_plan plan;
    int r = check_orphan(device, options->id, options->null_bytes, err);
    if (r < 0)
        return r;
    wishes.on_death = briq_ublk_on_death_of(device->info.flags);
    r = plan_for(device->control, &wishes, err, &plan);
    if (r == 0)
        r = start_recovery(device, err);
    if (r < 0)
        return r;
    fill_shared(device, options, &plan);
    r = open_char(device, err);
    if (r == 0)
        r = start_workers(device, err);
    return r == 0 ? go_live(device, UBLK_CMD_END_USER_RECOVERY, err) : r;
}

int briq_ublk_device_recover(struct briq_ublk_control *control, struct briq_store *store,
                             const struct briq_ublk_options *options, struct briq_error *err,
                             struct briq_ublk_device **ret)
{
    struct briq_ublk_device *device = NULL;
    int r = new_device(control, store, options, err, &device);
    if (r < 0)
        return r;
    r = take_over(device, options, err);
    if (r < 0) {
        device->left = true;
        give_up(device);
        return r;
    }
    device->added = true;
    *ret = device;
    return 0;
}

/* ---- living ---------------------------------------------------------------------------------- */

uint32_t briq_ublk_device_id(const struct briq_ublk_device *device)
{
    return device->info.dev_id;
}

const struct ublk_dev_info *briq_ublk_device_info(const struct briq_ublk_device *device)
{
    return &device->info;
}

int briq_ublk_device_event_fd(const struct briq_ublk_device *device)
{
    return device->shared.event_fd;
}

static enum briq_ublk_end fail(const struct briq_ublk_device *device, int r, struct briq_error *err)
{
    (void)briq_error_set(err, r, "a queue of /dev/ublkb%" PRIu32 " cannot go on: %s",
                         device->info.dev_id, strerror(-r));
    return BRIQ_UBLK_FAILED;
}

enum briq_ublk_end briq_ublk_device_ended(struct briq_ublk_device *device, struct briq_error *err)
{
    uint64_t ignored;
    ssize_t n = read(device->shared.event_fd, &ignored, sizeof ignored);
    bool all_ended = device->worker_count > 0;
    (void)n; /* nothing there: the answer is in the workers */
    for (unsigned i = 0; i < device->worker_count; i++) {
        int error = 0;
        all_ended &= briq_ublk_worker_ended(device->workers[i], &error);
        if (error < 0)
            return fail(device, error, err);
    }
    int error =
        device->shared.helpers != NULL ? briq_ublk_helpers_error(device->shared.helpers) : 0;
    if (error < 0)
        return fail(device, error, err);
    return all_ended ? BRIQ_UBLK_ENDED : BRIQ_UBLK_SERVING;
}

int briq_ublk_device_can_grow(const struct briq_ublk_device *device, struct briq_error *err)
{
    if ((device->info.flags & UBLK_F_UPDATE_SIZE) != 0)
        return 0;
    return briq_error_set(
        err, -EOPNOTSUPP,
        "this kernel cannot change the size of a device that is there (Linux 6.16 "
        "is needed): stop it, resize the volume, and add it again");
}

int briq_ublk_device_grown(struct briq_ublk_device *device, struct briq_error *err)
{
    uint64_t sectors = 0;
    int r = briq_ublk_params_sectors(size_of(device, 0), device->block_bytes, err, &sectors);
    if (r < 0)
        return r;
    /* Ready for requests to the new part before the kernel knows of it. */
    atomic_store_explicit(&device->shared.sectors, sectors, memory_order_release);
    r = briq_ublk_simple(device->control, UBLK_CMD_UPDATE_SIZE, device->info.dev_id, sectors, NULL);
    return r < 0 ? briq_error_set(err, r, "UPDATE_SIZE: %s", strerror(-r)) : 0;
}

/* ---- ending ---------------------------------------------------------------------------------- */

int briq_ublk_device_stop(struct briq_ublk_device *device, struct briq_error *err)
{
    int r = briq_ublk_simple(device->control, UBLK_CMD_STOP_DEV, device->info.dev_id, 0, NULL);
    /* -ENODEV: somebody else has deleted it, which ends it just as well. */
    if (r < 0 && r != -ENODEV)
        return briq_error_set(err, r, "STOP_DEV of device %" PRIu32 ": %s", device->info.dev_id,
                              strerror(-r));
    return 0;
}

void briq_ublk_device_leave(struct briq_ublk_device *device)
{
    /* With QUIESCE requests under way are answered still; without it the kernel sees a death. */
    int r = -EOPNOTSUPP;
    device->left = true;
    if ((device->info.flags & UBLK_F_QUIESCE) != 0)
        r = briq_ublk_simple(device->control, UBLK_CMD_QUIESCE_DEV, device->info.dev_id, QUIESCE_MS,
                             NULL);
    if (r < 0)
        abandon_workers(device);
}

/* When it has ended without our doing: was it stopped, or is the next server on its way? */
static bool is_left(struct briq_ublk_device *device)
{
    struct ublk_dev_info info;
    if (device->left)
        return true;
    return device->live && briq_ublk_get_info(device->control, device->info.dev_id, &info) == 0 &&
           info.state != UBLK_STATE_DEAD;
}

/* DEL_DEV waits for those that have it open; it goes with the last of them, waited for or not. */
static int delete_from_kernel(struct briq_ublk_device *device, struct briq_error *err)
{
    const struct briq_ublk_watch watch = {.fd = -1, .timeout_ms = DELETE_MS};
    uint32_t id = device->info.dev_id;
    int r = briq_ublk_simple(device->control, UBLK_CMD_DEL_DEV_ASYNC, id, 0, NULL);
    if (r == -EOPNOTSUPP || r == -EINVAL || r == -ENOTTY)
        r = briq_ublk_simple(device->control, UBLK_CMD_DEL_DEV, id, 0, &watch);
    if (r < 0 && r != -ENODEV && r != -ETIMEDOUT)
        return briq_error_set(err, r, "DEL_DEV of device %" PRIu32 ": %s", id, strerror(-r));
    return 0;
}

void briq_ublk_device_join(struct briq_ublk_device *device)
{
    for (unsigned i = 0; i < device->worker_count; i++)
        briq_ublk_worker_join(device->workers[i]);
    briq_ublk_helpers_join(device->shared.helpers);
}

int briq_ublk_device_close(struct briq_ublk_device *device, struct briq_error *err, bool *ret_left)
{
    int r = 0;
    *ret_left = false;
    if (device == NULL)
        return 0;
    free_workers(device);
    *ret_left = is_left(device);
    if (device->shared.fd >= 0)
        close(device->shared.fd);
    if (device->added && !*ret_left)
        r = delete_from_kernel(device, err);
    close(device->shared.event_fd);
    free(device);
    return r;
}

/* ---- figures --------------------------------------------------------------------------------- */

bool briq_ublk_device_figures(const struct briq_ublk_device *device, unsigned index,
                              struct briq_ublk_figures *ret)
{
    unsigned threads = device->shared.threads_per_queue;
    if (index >= device->worker_count)
        return false;
    const struct briq_ublk_counts *c = briq_ublk_worker_counts(device->workers[index]);
    *ret = (struct briq_ublk_figures){
        .queue = index / threads,
        .thread = index % threads,
        .reads = briq_counter_get(&c->requests[UBLK_OP_READ]),
        .writes = briq_counter_get(&c->requests[UBLK_OP_WRITE]),
        .flushes = briq_counter_get(&c->requests[UBLK_OP_FLUSH]),
        .discards = briq_counter_get(&c->requests[UBLK_OP_DISCARD]),
        .write_zeroes = briq_counter_get(&c->requests[UBLK_OP_WRITE_ZEROES]),
        .others = briq_counter_get(&c->requests[4]),
        .read_bytes = briq_counter_get(&c->read_bytes),
        .written_bytes = briq_counter_get(&c->written_bytes),
        .errors = briq_counter_get(&c->errors),
        .waits = briq_counter_get(&c->waits),
        .helped = briq_counter_get(&c->helped),
    };
    return true;
}

void briq_ublk_device_print(const struct briq_ublk_device *device, FILE *out)
{
    struct briq_ublk_figures f;
    for (unsigned i = 0; briq_ublk_device_figures(device, i, &f); i++)
        fprintf(out,
                "queue %u thread %u: %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64
                " flushes, %" PRIu64 " discards, %" PRIu64 " write-zeroes, %" PRIu64
                " others, %" PRIu64 " errors, %" PRIu64 " waits, %" PRIu64 " helped\n",
                f.queue, f.thread, f.reads, f.writes, f.flushes, f.discards, f.write_zeroes,
                f.others, f.errors, f.waits, f.helped);
}
