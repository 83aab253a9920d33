/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_list.c - "briq ublk list": every ublk device, who serves it, and what it is made of. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ublk_devices.h"
#include "cli/verb.h"
#include "common/base/size.h"
#include "ublk-frontend/control.h"
#include "ublk-frontend/features.h"
#include "ublk-frontend/process.h"
#include "ublk-frontend/record.h"

struct list_args {
    const char *device;
    bool json;
};

/* What there is to know of one. */
struct entry {
    struct ublk_dev_info info;
    uint64_t size_bytes;
    bool served;                    /* its server lives */
    bool ours;                      /* there is a record of it */
    struct briq_ublk_record record; /* ours */
};

static const char *state_name(const struct entry *e)
{
    switch ((enum ublk_dev_state)e->info.state) {
    case UBLK_STATE_DEAD:
        return "dead";
    case UBLK_STATE_LIVE:
        return e->served ? "live" : "dying";
    case UBLK_STATE_QUIESCED:
        return "waiting";
    case UBLK_STATE_FAIL_IO:
        return "failing";
    }
    return "unknown";
}

static int look_at(struct briq_ublk_control *control, uint32_t id, struct entry *ret,
                   struct briq_error *err)
{
    struct briq_error no_record = {""};
    struct ublk_params params;
    *ret = (struct entry){.size_bytes = 0};
    int r = briq_ublk_get_info(control, id, &ret->info);
    if (r < 0)
        return briq_ublk_explain(id, "GET_DEV_INFO", r, err);
    if (briq_ublk_get_params(control, id, &params) == 0)
        ret->size_bytes = params.basic.dev_sectors * UBLK_SECTOR_BYTES;
    ret->served = ret->info.server_pid > 0 && kill(ret->info.server_pid, 0) == 0;
    ret->ours = briq_ublk_record_read(id, &ret->record, &no_record) == 0;
    return 0;
}

static const char *volume_of(const struct entry *e)
{
    bool of_a_user = (e->info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0;
    if (!e->ours)
        return of_a_user && briq_ublk_is_privileged() ? "(a user's)" : "(not briq's)";
    return e->record.volume[0] != '\0' ? e->record.volume : "(null)";
}

static void print_line(const struct entry *e)
{
    char size[BRIQ_SIZE_TEXT_MAX], name[32];
    snprintf(name, sizeof name, "/dev/ublkb%" PRIu32, e->info.dev_id);
    printf("%-14s %-8s %9s %3u x %-4u %7d %-7s %s\n", name, state_name(e),
           briq_size_format(e->size_bytes, size), e->info.queues, e->info.depth,
           (int)e->info.server_pid, briq_ublk_on_death_name(briq_ublk_on_death_of(e->info.flags)),
           volume_of(e));
}

static struct json_object *to_json(const struct entry *e)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "id", json_object_new_int64(e->info.dev_id));
    json_object_object_add(o, "state", json_object_new_string(state_name(e)));
    json_object_object_add(o, "size", json_object_new_uint64(e->size_bytes));
    json_object_object_add(o, "queues", json_object_new_int(e->info.queues));
    json_object_object_add(o, "depth", json_object_new_int(e->info.depth));
    json_object_object_add(o, "max_io", json_object_new_int64(e->info.max_io_bytes));
    json_object_object_add(o, "owner", json_object_new_int64(e->info.owner_uid));
    json_object_object_add(o, "flags", json_object_new_uint64(e->info.flags));
    json_object_object_add(o, "pid", json_object_new_int(e->info.server_pid));
    json_object_object_add(o, "served", json_object_new_boolean(e->served));
    json_object_object_add(
        o, "on_death",
        json_object_new_string(briq_ublk_on_death_name(briq_ublk_on_death_of(e->info.flags))));
    json_object_object_add(o, "volume", e->ours ? json_object_new_string(e->record.volume) : NULL);
    return o;
}

static int list_ids(struct briq_ublk_control *control, const uint32_t *ids, size_t count, bool all,
                    bool json, struct briq_error *err)
{
    struct json_object *array = json ? json_object_new_array() : NULL;
    int r = 0;
    if (!json && count > 0)
        printf("%-14s %-8s %9s %3s x %-4s %7s %-7s %s\n", "DEVICE", "STATE", "SIZE", "Q", "DEEP",
               "PID", "DEATH", "VOLUME");
    for (size_t i = 0; i < count && r == 0; i++) {
        struct entry e;
        r = look_at(control, ids[i], &e, err);
        /* With all of them: it went while we looked, or is another user's. */
        if (all && (r == -ENODEV || r == -EPERM || r == -EACCES)) {
            r = 0;
            *err = (struct briq_error){""};
            continue;
        }
        if (r == 0 && json)
            json_object_array_add(array, to_json(&e));
        else if (r == 0)
            print_line(&e);
    }
    if (json && r == 0)
        printf("%s\n", json_object_to_json_string_ext(array, JSON_C_TO_STRING_PRETTY));
    json_object_put(array);
    return r;
}

static int list(const struct list_args *a, struct briq_error *err)
{
    struct briq_ublk_control *control = NULL;
    uint32_t one = 0, *all = NULL;
    size_t count = 1;
    int r = a->device != NULL ? briq_ublk_parse_id(a->device, err, &one) : 0;
    if (r == 0)
        r = briq_ublk_control_open(err, &control);
    if (r < 0)
        return r;
    if (a->device == NULL)
        r = briq_ublk_find_all(err, &all, &count);
    if (r == 0)
        r = list_ids(control, a->device != NULL ? &one : all, count, a->device == NULL, a->json,
                     err);
    free(all);
    briq_ublk_control_close(control);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = list(args, &err);
    return r < 0 ? briq_verb_fail("ublk list", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_ublk_list = {
    .name = "ublk list",
    .summary = "list devices, their servers and volumes",
    .description =
        (const char *const[]){
            "Prints a line for every ublk device, or for DEVICE alone. Its state is live (it is "
            "served), waiting (its server has died; requests wait for `briq ublk recover`), "
            "failing (the same, and requests fail), dying (its server has died, which the kernel "
            "has not noticed) or dead (stopped; `briq ublk del` removes it).",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"DEVICE", offsetof(struct list_args, device), BRIQ_MAYBE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct list_args, json),
             .help = "Print a JSON array of objects; sizes are in bytes."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq ublk list", "All devices."},
            {"briq ublk list --json | jq '.[] | select(.state == \"waiting\") | .id'",
             "Devices whose servers have died."},
            {0},
        },
    .args_bytes = sizeof(struct list_args),
    .run = run,
};
