/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * features.c - from wishes to flags.
 *
 * About partitions: when a device starts, the kernel reads its first sectors to find some. Up to
 * 6.x it does that inside START_DEV and holds the device's lock meanwhile; if the server dies at
 * that moment, nothing but a restart of the machine frees the device. Newer ones have a flag
 * against it and do it in the background. Older ones leave it out when the thread that serves the
 * queue has no CAP_SYS_ADMIN, so there the threads give that up (drop_admin).
 */
#include "ublk-frontend/features.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {
    "UBLK_F_SUPPORT_ZERO_COPY",
    "UBLK_F_URING_CMD_COMP_IN_TASK",
    "UBLK_F_NEED_GET_DATA",
    "UBLK_F_USER_RECOVERY",
    "UBLK_F_USER_RECOVERY_REISSUE",
    "UBLK_F_UNPRIVILEGED_DEV",
    "UBLK_F_CMD_IOCTL_ENCODE",
    "UBLK_F_USER_COPY",
    "UBLK_F_ZONED",
    "UBLK_F_USER_RECOVERY_FAIL_IO",
    "UBLK_F_UPDATE_SIZE",
    "UBLK_F_AUTO_BUF_REG",
    "UBLK_F_QUIESCE",
    "UBLK_F_PER_IO_DAEMON",
    "UBLK_F_BUF_REG_OFF_DAEMON",
    "UBLK_F_BATCH_IO",
    "UBLK_F_INTEGRITY",
    "UBLK_F_SAFE_STOP_DEV",
    "UBLK_F_NO_AUTO_PART_SCAN",
    "UBLK_F_SHMEM_ZC",
};

const char *briq_ublk_feature_name(unsigned bit)
{
    return bit < BRIQ_COUNT_OF(names) ? names[bit] : NULL;
}

/* ---- death ----------------------------------------------------------------------------------- */

static const char *const deaths[] = {
    [BRIQ_UBLK_QUEUE] = "queue",
    [BRIQ_UBLK_FAIL] = "fail",
    [BRIQ_UBLK_REMOVE] = "remove",
};

const char *briq_ublk_on_death_name(enum briq_ublk_on_death on_death)
{
    return deaths[on_death];
}

int briq_ublk_word(const char *option, const char *text, const char *const *words, unsigned count,
                   struct briq_error *err)
{
    char list[128] = "";
    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(list);
        if (strcmp(text, words[i]) == 0)
            return (int)i;
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    return briq_error_set(err, -EINVAL, "--%s: \"%s\" is not one of %s", option, text, list);
}

int briq_ublk_on_death_parse(const char *text, struct briq_error *err, enum briq_ublk_on_death *ret)
{
    int r = briq_ublk_word("on-death", text, deaths, BRIQ_COUNT_OF(deaths), err);
    if (r < 0)
        return r;
    *ret = (enum briq_ublk_on_death)r;
    return 0;
}

int briq_ublk_partitions_parse(const char *text, struct briq_error *err,
                               enum briq_ublk_partitions *ret)
{
    static const char *const words[] = {
        [BRIQ_UBLK_PARTITIONS_AUTO] = "auto",
        [BRIQ_UBLK_PARTITIONS_YES] = "yes",
        [BRIQ_UBLK_PARTITIONS_NO] = "no",
    };
    int r = briq_ublk_word("partitions", text, words, BRIQ_COUNT_OF(words), err);
    if (r < 0)
        return r;
    *ret = (enum briq_ublk_partitions)r;
    return 0;
}

enum briq_ublk_on_death briq_ublk_on_death_of(uint64_t flags)
{
    if ((flags & UBLK_F_USER_RECOVERY) == 0)
        return BRIQ_UBLK_REMOVE;
    return (flags & UBLK_F_USER_RECOVERY_FAIL_IO) != 0 ? BRIQ_UBLK_FAIL : BRIQ_UBLK_QUEUE;
}

static uint64_t death_flags(enum briq_ublk_on_death on_death)
{
    switch (on_death) {
    case BRIQ_UBLK_QUEUE:
        return UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE;
    case BRIQ_UBLK_FAIL:
        return UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_FAIL_IO;
    case BRIQ_UBLK_REMOVE:
        break;
    }
    return 0;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Flags of `wanted` that are not in `got`, by name, in *text. */
static void name_missing(uint64_t wanted, uint64_t got, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned bit = 0; bit < 64; bit++) {
        if (((wanted & ~got) >> bit & 1) == 0)
            continue;
        const char *name = briq_ublk_feature_name(bit);
        int n = snprintf(text + used, room - used, "%s%s", used > 0 ? ", " : "",
                         name != NULL ? name : "an unknown one");
        used += n > 0 && (size_t)n < room - used ? (size_t)n : 0;
    }
}

static int check_needs(uint64_t features, uint64_t needed, const struct briq_ublk_wishes *wishes,
                       struct briq_error *err)
{
    char missing[256];
    if (wishes->threads_per_queue > 1 && (features & UBLK_F_PER_IO_DAEMON) == 0)
        return briq_error_set(err, -EOPNOTSUPP,
                              "--threads-per-queue %u: this kernel has one thread for each queue "
                              "(Linux 6.16 or newer is needed); use more queues",
                              wishes->threads_per_queue);
    if (wishes->on_death == BRIQ_UBLK_FAIL && !wishes->unprivileged &&
        (features & UBLK_F_USER_RECOVERY_FAIL_IO) == 0)
        return briq_error_set(
            err, -EOPNOTSUPP,
            "--on-death fail: this kernel cannot (Linux 6.13 or newer is needed); "
            "use queue or remove");
    if ((features & needed) == needed)
        return 0;
    name_missing(needed, features, missing, sizeof missing);
    return briq_error_set(err, -EOPNOTSUPP,
                          "this kernel's ublk driver lacks %s (Linux 6.5 or newer is needed)",
                          missing);
}

/* What decides which kernels will do. */
static int basic_flags(uint64_t features, const struct briq_ublk_wishes *wishes,
                       struct briq_error *err, uint64_t *ret)
{
    *ret = UBLK_F_CMD_IOCTL_ENCODE;
    if (!wishes->unprivileged)
        *ret |= death_flags(wishes->on_death);
    else if (wishes->partitions == BRIQ_UBLK_PARTITIONS_YES)
        return briq_error_set(err, -EOPNOTSUPP,
                              "--partitions yes: the kernel does not look for partitions on the "
                              "device of a user without CAP_SYS_ADMIN");
    else
        *ret |= UBLK_F_UNPRIVILEGED_DEV;
    return check_needs(features, *ret, wishes, err);
}

int briq_ublk_plan_features(uint64_t features, const struct briq_ublk_wishes *wishes,
                            struct briq_error *err, struct briq_ublk_plan *ret)
{
    bool user_copy =
        !wishes->plain_copy && !wishes->unprivileged && (features & UBLK_F_USER_COPY) != 0;
    uint64_t flags = 0;
    int r = basic_flags(features, wishes, err, &flags);
    if (r < 0)
        return r;

    if (user_copy)
        flags |= UBLK_F_USER_COPY;
    flags |= features & UBLK_F_UPDATE_SIZE;
    if ((flags & UBLK_F_USER_RECOVERY) != 0)
        flags |= features & UBLK_F_QUIESCE;
    if (wishes->threads_per_queue > 1)
        flags |= UBLK_F_PER_IO_DAEMON;
    if (wishes->partitions == BRIQ_UBLK_PARTITIONS_NO)
        flags |= features & UBLK_F_NO_AUTO_PART_SCAN;
    *ret = (struct briq_ublk_plan){
        .flags = flags,
        .user_copy = user_copy,
        .drop_admin = wishes->partitions != BRIQ_UBLK_PARTITIONS_YES && !wishes->unprivileged &&
                      (features & UBLK_F_NO_AUTO_PART_SCAN) == 0,
        .can_resize = (features & UBLK_F_UPDATE_SIZE) != 0,
        .can_quiesce = (flags & UBLK_F_QUIESCE) != 0,
        .can_try_stop = (features & UBLK_F_SAFE_STOP_DEV) != 0,
    };
    return 0;
}

int briq_ublk_check_granted(uint64_t asked, uint64_t granted, struct briq_error *err)
{
    char missing[256];
    if ((asked & ~granted) == 0)
        return 0;
    name_missing(asked, granted, missing, sizeof missing);
    return briq_error_set(err, -EOPNOTSUPP,
                          "the kernel did not grant %s, although it claims to know it", missing);
}
