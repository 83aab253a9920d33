/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * features.h - what the kernel's driver can do, and what of it a device asks for.
 *
 * A kernel drops the flags that it does not know without a word, so what is asked for is decided
 * from what it says it can do, and looked at again when it has answered. Pure functions; thread:
 * any.
 */
#ifndef BRIQ_UBLK_FEATURES_H
#define BRIQ_UBLK_FEATURES_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/error.h"
#include "ublk-frontend/uapi.h"

/* What becomes of the device when its server dies. */
enum briq_ublk_on_death {
    BRIQ_UBLK_QUEUE,  /* requests wait for `recover`, those under way are issued again */
    BRIQ_UBLK_FAIL,   /* requests fail until `recover` */
    BRIQ_UBLK_REMOVE, /* the device goes, requests fail */
};

/* Whether the kernel is to look for partitions when the device starts. */
enum briq_ublk_partitions {
    BRIQ_UBLK_PARTITIONS_AUTO, /* where it does that without danger */
    BRIQ_UBLK_PARTITIONS_YES,
    BRIQ_UBLK_PARTITIONS_NO,
};

struct briq_ublk_wishes {
    enum briq_ublk_on_death on_death;
    bool plain_copy; /* buffers of our own instead of USER_COPY */
    enum briq_ublk_partitions partitions;
    unsigned threads_per_queue; /* at least 1 */
    /* Without CAP_SYS_ADMIN: the kernel wants plain copy, removes the device when its server dies,
     * whatever on_death says, and ends a server that leaves a request for 30 s. */
    bool unprivileged;
};

struct briq_ublk_plan {
    uint64_t flags;  /* for ADD_DEV */
    bool user_copy;  /* payload goes through pread and pwrite */
    bool drop_admin; /* only way to keep this kernel from scanning: see features.c */
    bool can_resize, can_quiesce, can_try_stop;
};

/*
 * What to ask a kernel for that has `features`. Returns 0, or -EOPNOTSUPP explained in err: it
 * cannot do what is wished for.
 */
int briq_ublk_plan_features(uint64_t features, const struct briq_ublk_wishes *wishes,
                            struct briq_error *err, struct briq_ublk_plan *ret) BRIQ_MUST;

/*
 * Compares what was asked for with what ADD_DEV answered. Returns 0, or -EOPNOTSUPP: err names the
 * flags that the kernel dropped.
 */
int briq_ublk_check_granted(uint64_t asked, uint64_t granted, struct briq_error *err) BRIQ_MUST;

/* What the flags of a device say about it. */
enum briq_ublk_on_death briq_ublk_on_death_of(uint64_t flags);
const char *briq_ublk_on_death_name(enum briq_ublk_on_death on_death);
/* The index of `text` in words[0 .. count), or -EINVAL: err names --option and the words. */
int briq_ublk_word(const char *option, const char *text, const char *const *words, unsigned count,
                   struct briq_error *err) BRIQ_MUST;
/* "queue", "fail", "remove". 0, or -EINVAL explained in err. */
int briq_ublk_on_death_parse(const char *text, struct briq_error *err,
                             enum briq_ublk_on_death *ret) BRIQ_MUST;

/* "auto", "yes", "no". The same. */
int briq_ublk_partitions_parse(const char *text, struct briq_error *err,
                               enum briq_ublk_partitions *ret) BRIQ_MUST;

/* The name of bit 0 .. 63 ("UBLK_F_USER_COPY"), NULL for one this program does not know. */
const char *briq_ublk_feature_name(unsigned bit);

#endif
