/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_options.h - the options that verbs which make or serve block devices have in common: once
 * for the parser, --help and the man page, once from words to what ublk-frontend/ takes.
 */
#ifndef BRIQ_CLI_UBLK_OPTIONS_H
#define BRIQ_CLI_UBLK_OPTIONS_H

#include "cli/verb.h"
#include "ublk-frontend/device.h"
#include "ublk-frontend/uapi.h"

/* The threads that serve a device: whoever serves it next may choose anew. */
struct briq_ublk_thread_words {
    const char *affinity, *helpers;
    uint64_t threads;
};

/* The device as the kernel knows it, for as long as there is one. */
struct briq_ublk_shape_words {
    const char *queues, *on_death, *partitions;
    uint64_t depth, max_io, block_size;
    bool plain_copy;
};

#define BRIQ_UBLK_THREAD_WORDS                                                                     \
    {                                                                                              \
        .affinity = "mask", .helpers = "0", .threads = 1                                           \
    }
#define BRIQ_UBLK_SHAPE_WORDS                                                                      \
    {                                                                                              \
        .queues = "auto", .on_death = "queue", .partitions = "auto",                               \
        .depth = BRIQ_UBLK_DEPTH_DEFAULT, .block_size = 512                                        \
    }

/* Fill what they are about in *ret, the rest stays. 0, or -EINVAL explained in err. */
int briq_ublk_read_threads(const struct briq_ublk_thread_words *words, struct briq_error *err,
                           struct briq_ublk_options *ret) BRIQ_MUST;
/* After briq_ublk_read_threads(): threads share the requests of a queue. */
int briq_ublk_read_shape(const struct briq_ublk_shape_words *words, struct briq_error *err,
                         struct briq_ublk_options *ret) BRIQ_MUST;

/* For a verb's table; `at` is the offset of the words in its args. */
#define BRIQ_UBLK_THREAD_OPTIONS(at)                                                               \
    {.name = "threads-per-queue",                                                                  \
     .kind = BRIQ_OPTION_NUMBER,                                                                   \
     .offset = (at) + offsetof(struct briq_ublk_thread_words, threads),                            \
     .value = "N",                                                                                 \
     .min = 1,                                                                                     \
     .max = 16,                                                                                    \
     .help = "Threads that share the requests of each queue of a device (Linux 6.16 or newer). "   \
             "Default: 1."},                                                                       \
        {.name = "helpers",                                                                        \
         .kind = BRIQ_OPTION_TEXT,                                                                 \
         .offset = (at) + offsetof(struct briq_ublk_thread_words, helpers),                        \
         .value = "N|auto",                                                                        \
         .help = "Threads beside those of a device's queues that do pieces of its requests of "    \
                 "more than 128K: 0 to 16. auto is one for each processor but one, at most 4, "    \
                 "each used only while the device leaves a processor idle. Default: 0. What they " \
                 "gain depends on the machine."},                                                  \
    {                                                                                              \
        .name = "affinity", .kind = BRIQ_OPTION_TEXT,                                              \
        .offset = (at) + offsetof(struct briq_ublk_thread_words, affinity),                        \
        .value = "mask|one|none",                                                                  \
        .help = "Bind a device's threads to the processors of their queue, to one of those each, " \
                "or not at all. Default: mask."                                                    \
    }

#define BRIQ_UBLK_SHAPE_OPTIONS(at)                                                                \
    {.name = "queues",                                                                             \
     .letter = 'q',                                                                                \
     .kind = BRIQ_OPTION_TEXT,                                                                     \
     .offset = (at) + offsetof(struct briq_ublk_shape_words, queues),                              \
     .value = "N|auto",                                                                            \
     .help = "Hardware queues of a device, each with a thread of its own. Default: auto, which "   \
             "is one for each processor, at most 8."},                                             \
        {.name = "depth",                                                                          \
         .letter = 'd',                                                                            \
         .kind = BRIQ_OPTION_NUMBER,                                                               \
         .offset = (at) + offsetof(struct briq_ublk_shape_words, depth),                           \
         .value = "N",                                                                             \
         .min = 1,                                                                                 \
         .max = UBLK_DEPTH_MAX,                                                                    \
         .help = "Requests that a queue can have under way. Default: 128."},                       \
        {.name = "max-io",                                                                         \
         .kind = BRIQ_OPTION_SIZE,                                                                 \
         .offset = (at) + offsetof(struct briq_ublk_shape_words, max_io),                          \
         .value = "SIZE",                                                                          \
         .min = 4096,                                                                              \
         .max = UBLK_IO_BYTES_MAX,                                                                 \
         .help =                                                                                   \
             "Largest request of a device, a power of two. Default: 1M; 128K with --plain-copy, "  \
             "where every request takes that much memory."},                                       \
        {.name = "block-size",                                                                     \
         .letter = 'b',                                                                            \
         .kind = BRIQ_OPTION_SIZE,                                                                 \
         .offset = (at) + offsetof(struct briq_ublk_shape_words, block_size),                      \
         .value = "SIZE",                                                                          \
         .help = "Logical block size of a device, 512 or 4096. Default: 512."},                    \
        {.name = "on-death",                                                                       \
         .kind = BRIQ_OPTION_TEXT,                                                                 \
         .offset = (at) + offsetof(struct briq_ublk_shape_words, on_death),                        \
         .value = "queue|fail|remove",                                                             \
         .help =                                                                                   \
             "What becomes of a device when its server dies: requests wait for the next one "      \
             "(`briq ublk recover`, or `briq serve` of that volume), they fail until then (Linux " \
             "6.13 or newer), or the device goes. Default: queue; for a volume in memory always "  \
             "remove, and so for a user without CAP_SYS_ADMIN."},                                  \
        {.name = "partitions",                                                                     \
         .kind = BRIQ_OPTION_TEXT,                                                                 \
         .offset = (at) + offsetof(struct briq_ublk_shape_words, partitions),                      \
         .value = "auto|yes|no",                                                                   \
         .help =                                                                                   \
             "Let the kernel look for partitions of a device. Before Linux 7.0 it hangs for ever " \
             "if the server dies at that moment, so auto means no there (partx -a finds them), "   \
             "and yes from then on. Default: auto."},                                              \
    {                                                                                              \
        .name = "plain-copy", .kind = BRIQ_OPTION_FLAG,                                            \
        .offset = (at) + offsetof(struct briq_ublk_shape_words, plain_copy),                       \
        .help = "Let the kernel copy all data of a device through a buffer for each request, as "  \
                "it must where it has no UBLK_F_USER_COPY, or the user no CAP_SYS_ADMIN."          \
    }

#define BRIQ_UBLK_SPIN_OPTION(args, field)                                                         \
    {                                                                                              \
        .name = "spin", .kind = BRIQ_OPTION_NUMBER, .offset = offsetof(args, field),               \
        .value = "MICROSECONDS", .max = 10000,                                                     \
        .help = "Look so long for the next request before sleeping: shorter answers for "          \
                "processor time. Default: 0."                                                      \
    }

#define BRIQ_UBLK_SWAP_OPTION(args, field)                                                         \
    {                                                                                              \
        .name = "swap", .kind = BRIQ_OPTION_FLAG, .offset = offsetof(args, field),                 \
        .help = "A device is to be swap: its server gets real-time priority, the lowest there "    \
                "is, with which the kernel gives it the last of the memory. Without it a volume "  \
                "in memory can need a page for what it is to free one with, and everything "       \
                "stands still."                                                                    \
    }

#define BRIQ_UBLK_FOREGROUND_OPTION(args, field)                                                   \
    {                                                                                              \
        .name = "foreground", .letter = 'f', .kind = BRIQ_OPTION_FLAG,                             \
        .offset = offsetof(args, field),                                                           \
        .help = "Do not go to the background: serve until the device ends or a signal comes."      \
    }

#endif
