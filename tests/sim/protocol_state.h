/* SPDX-License-Identifier: BSD-3-Clause */
/* protocol_state.h - what protocol*.c know of a volume. For them only. */
#ifndef BRIQ_TESTS_SIM_PROTOCOL_STATE_H
#define BRIQ_TESTS_SIM_PROTOCOL_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/encode.h"
#include "tests/sim/protocol.h"

#define PROTOCOL_SECTOR 4096u /* everything a volume consists of is a multiple of it */
#define PROTOCOL_SEQS   65536u

/* Why recovery from a superblock needs a sector. */
enum protocol_need {
    PROTOCOL_FREE = 0,
    PROTOCOL_NEEDS_PAGE,   /* a page of the map, the tree or the segment table */
    PROTOCOL_NEEDS_EXTENT, /* a block */
};

/* Which of two superblocks. */
enum protocol_which {
    PROTOCOL_DURABLE, /* the newest that a flush has covered */
    PROTOCOL_WRITTEN, /* a newer one that is written */
};

struct protocol_sector {
    uint64_t written;   /* the clock after the last write; UINT64_MAX: that is under way */
    uint64_t seq_max;   /* of the user records of the chunk that it belongs to; 0: none */
    uint32_t chunk_off; /* where that chunk begins in its segment */
    uint32_t incarnation;
    uint8_t stream;
    bool unanswered; /* nobody knows how much of the last write happened */
    uint8_t need[2]; /* enum protocol_need, by enum protocol_which */
};

struct protocol_segment {
    uint64_t use;          /* segseq of the last chunk written; 0: none since the opening */
    uint64_t use_since;    /* generation of the durable superblock when that use began */
    uint64_t table_use[2]; /* as the segment tables say, by enum protocol_which */
    uint8_t table_state[2];
    bool on_host;
};

struct protocol_superblock {
    bool known;
    struct briq_superblock sb;
    uint64_t hash;    /* of all its bytes */
    uint64_t written; /* of its first copy, as in a sector */
};

struct protocol {
    void (*illegal)(void *opaque, const char *line);
    void *opaque;
    pthread_mutex_t lock;       /* guards all that follows */
    struct briq_device *reader; /* of the opening */
    uint64_t clock, flushed, flush_covers;
    uint64_t flushed_before; /* the opening */
    struct protocol_sector *sectors;
    size_t sector_count;
    struct protocol_segment *segments;
    size_t segment_count;
    struct protocol_superblock superblock[2]; /* by enum protocol_which */
    struct protocol_superblock copy[2];       /* by slot: what was last written there */
    bool medium_unknown;                      /* read it at the next wrap */
    bool recovering;                          /* until the opening writes its first superblock */
    uint64_t incarnation;                     /* of the opening */
    uint64_t prefix;                          /* operations up to this one are flushed */
    uint64_t seq_written[PROTOCOL_SEQS];      /* clock, by number; 0: not in the journal */
    uint8_t *scratch;                         /* a segment */
};

/* Calls p->illegal with the line. */
void protocol_complain(struct protocol *p, const char *fmt, ...) BRIQ_PRINTF(2, 3);

/* The sector or segment, whether or not anything was written there. */
struct protocol_sector *protocol_sector(struct protocol *p, uint64_t off);
struct protocol_segment *protocol_segment(struct protocol *p, uint32_t seg);

static inline bool protocol_is_flushed(const struct protocol *p, uint64_t written)
{
    return written <= p->flushed;
}

/*
 * Notes what recovery from p->superblock[which] needs: map, tree, segment table, extents. What is
 * not where the superblock says is a complaint; with `fresh` also what is not flushed.
 */
void protocol_note_needs(struct protocol *p, enum protocol_which which, bool fresh);

/* Follows the journal of the newest superblock on the medium. */
void protocol_note_journal(struct protocol *p);

#endif
