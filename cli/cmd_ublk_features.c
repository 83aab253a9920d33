/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_features.c - "briq ublk features": what the kernel's driver can do. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "ublk-frontend/control.h"
#include "ublk-frontend/features.h"

struct features_args {
    bool unused; /* it takes nothing */
};

static int get(struct briq_error *err, uint64_t *ret)
{
    struct briq_ublk_control *control = NULL;
    int r = briq_ublk_control_open(err, &control);
    if (r < 0)
        return r;
    r = briq_ublk_get_features(control, ret);
    briq_ublk_control_close(control);
    return r < 0 ? briq_error_set(err, r, "GET_FEATURES: %s", strerror(-r)) : 0;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    uint64_t features = 0;
    (void)args;
    int r = get(&err, &features);
    if (r < 0)
        return briq_verb_fail("ublk features", &err, r);
    printf("0x%" PRIx64 "\n", features);
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = briq_ublk_feature_name(bit);
        if ((features >> bit & 1) != 0)
            printf("\t%-32s 0x%" PRIx64 "\n", name != NULL ? name : "unknown", UINT64_C(1) << bit);
    }
    return BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_ublk_features = {
    .name = "ublk features",
    .summary = "list what the kernel's ublk driver can do",
    .description =
        (const char *const[]){
            "Prints the features of the running kernel's ublk driver: all of them as a number, "
            "then each by name.",
            NULL,
        },
    .operands = (const struct briq_operand[]){{0}},
    .options = (const struct briq_option[]){{0}},
    .examples =
        (const struct briq_example[]){
            {"briq ublk features", "What this kernel can do."},
            {0},
        },
    .args_bytes = sizeof(struct features_args),
    .run = run,
};
