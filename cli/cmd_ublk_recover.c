/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_recover.c - "briq ublk recover": a new server for a device whose server has died. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ublk_devices.h"
#include "cli/ublk_options.h"
#include "cli/ublk_server.h"
#include "cli/verb.h"

struct recover_args {
    const char *device;
    struct briq_ublk_thread_words threads;
    uint64_t spin;
    bool replace, foreground;
};

static const struct recover_args defaults = {.threads = BRIQ_UBLK_THREAD_WORDS};

/* "" is the device without a store; what was in memory alone is gone. */
static int check_volume(const struct briq_ublk_record *what, uint32_t id, struct briq_error *err)
{
    if (strncmp(what->volume, "mem:", 4) != 0)
        return 0;
    return briq_error_set(err, -EINVAL,
                          "device %" PRIu32
                          " was %s: its data died with its server; remove it with "
                          "`briq ublk del %" PRIu32 "`",
                          id, what->volume, id);
}

static int fill_job(const struct recover_args *a, struct briq_ublk_job *job, struct briq_error *err)
{
    struct briq_ublk_options *options = &job->options;
    job->verb = "ublk recover";
    job->foreground = a->foreground;
    job->recover = true;
    job->replace = a->replace;
    options->spin_ns = a->spin * 1000;
    int r = briq_ublk_parse_id(a->device, err, &options->id);
    if (r == 0)
        r = briq_ublk_read_threads(&a->threads, err, options);
    if (r == 0)
        r = briq_ublk_record_read(options->id, &job->what, err);
    return r == 0 ? check_volume(&job->what, options->id, err) : r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    struct briq_ublk_job *job = calloc(1, sizeof *job);
    int r = job == NULL ? -ENOMEM : fill_job(args, job, &err);
    enum briq_exit code =
        r < 0 ? briq_verb_fail("ublk recover", &err, r) : briq_ublk_server_run(job);
    free(job);
    return code;
}

#define FIELD(name) offsetof(struct recover_args, name)

const struct briq_verb briq_verb_ublk_recover = {
    .name = "ublk recover",
    .summary = "serve a device again whose server has died",
    .description =
        (const char *const[]){
            "Opens the volume of DEVICE (a number, or /dev/ublkbN) with everything that its last "
            "server had acknowledged, and goes on serving: programs that have the device open see "
            "a delay and nothing else. Requests that were under way are carried out again, unless "
            "the device was made with --on-death fail.",
            "On Linux 6.12 the kernel may take half a minute to notice that a server has died; "
            "recover waits for it.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"DEVICE", FIELD(device), BRIQ_ONCE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "replace",
             .kind = BRIQ_OPTION_FLAG,
             .offset = FIELD(replace),
             .help = "Take over from a server that lives, say to upgrade it: it closes the volume "
                     "and ends. Requests wait meanwhile."},
            BRIQ_UBLK_THREAD_OPTIONS(FIELD(threads)),
            BRIQ_UBLK_SPIN_OPTION(struct recover_args, spin),
            BRIQ_UBLK_FOREGROUND_OPTION(struct recover_args, foreground),
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq ublk recover 0", "A new server for /dev/ublkb0."},
            {"briq ublk recover --replace 0", "From now on this version of briq serves it."},
            {0},
        },
    .args_bytes = sizeof(struct recover_args),
    .defaults = &defaults,
    .run = run,
};
