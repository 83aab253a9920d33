/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - the course of a check, its findings, and the superblocks; see check.h. */
#include "common/store/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/vmem.h"
#include "common/store/open.h"
#include "common/store/recover.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"

#define LINE_MAX_BYTES    512
#define PROGRESS_INTERVAL 16u
#define REPAIR_WINDOWS    6u /* what one stream takes */

/* ---- findings -------------------------------------------------------------------------------- */

static void say(struct briq_checker *c, const char *line)
{
    if (c->options->report != NULL)
        c->options->report(c->options->opaque, line);
}

/* Keeps what will be said when it is mended. Without memory it is counted all the same. */
static void keep_cure(struct briq_checker *c, const char *line, const char *text)
{
    size_t bytes = strlen(line) + strlen(text) + 16;
    struct briq_check_cure *cure = malloc(sizeof *cure + bytes);
    c->cure_count++;
    if (cure == NULL)
        return;
    snprintf(cure->line, bytes, "mended: %s: %s", line, text);
    cure->next = NULL;
    *c->cures_end = cure;
    c->cures_end = &cure->next;
}

void briq_check_error(struct briq_checker *c, uint64_t *counter, const char *cure, const char *fmt,
                      ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    *counter += 1;
    say(c, line);
    if (cure != NULL)
        keep_cure(c, line, cure);
    else
        c->incurable++;
}

void briq_check_note(struct briq_checker *c, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    say(c, line);
}

void briq_check_progress(struct briq_checker *c, uint64_t done)
{
    uint64_t before = c->done / PROGRESS_INTERVAL;
    c->done += done;
    if (c->options->progress != NULL && c->done / PROGRESS_INTERVAL != before)
        c->options->progress(c->options->opaque, briq_min_u64(c->done, c->total), c->total);
}

/* All that was found is mended, or (`r`) nothing is. */
static void tell_cures(struct briq_checker *c, int r)
{
    if (!c->options->repair)
        return;
    for (struct briq_check_cure *cure = c->cures; cure != NULL && r == 0; cure = cure->next)
        say(c, cure->line);
    c->result->repaired = r == 0 ? c->cure_count : 0;
    c->result->unrepaired = c->incurable + (r == 0 ? 0 : c->cure_count);
}

/* ---- reading --------------------------------------------------------------------------------- */

int briq_check_read(struct briq_checker *c, void *buf, size_t len, uint64_t off)
{
    struct briq_store *store = c->store;
    uint32_t window_bytes = store->windows.window_bytes;
    const uint8_t *kept = briq_windows_find(&store->windows, off);
    if (kept == NULL || off % window_bytes + len > window_bytes)
        return briq_read_bytes(store, buf, len, off);
    memcpy(buf, kept, len);
    return 0;
}

int briq_check_payload(struct briq_checker *c, uint64_t block, briq_word word)
{
    uint8_t content[BRIQ_BLOCK_SIZE];
    uint64_t granule = briq_word_granule(word);
    uint32_t granules = briq_word_granules(word);
    uint32_t seg = briq_space_seg_of(&c->store->space, granule);
    int r =
        briq_check_read(c, c->extent, granules * BRIQ_GRANULE_BYTES, granule << BRIQ_GRANULE_SHIFT);
    if (r < 0)
        return r;
    return briq_extent_read(c->extent, granules, block, briq_space_segseq(&c->store->space, seg),
                            content);
}

static int read_for_scan(void *opaque, void *buf, size_t len, uint64_t off)
{
    return briq_check_read(opaque, buf, len, off);
}

struct briq_scan *briq_check_scan(struct briq_checker *c, uint32_t seg, uint64_t segseq)
{
    *c->scan = (struct briq_scan){
        .read = read_for_scan,
        .opaque = c,
        .seg = seg,
        .seg_shift = c->store->space.seg_shift,
        .window_bytes = c->store->windows.window_bytes,
        .uuid_lo = c->store->journal.uuid_lo,
        .segseq = segseq,
    };
    return c->scan;
}

uint32_t briq_check_seg_end(const struct briq_checker *c)
{
    const struct briq_store *store = c->store;
    uint64_t segments = briq_div_up(store->dev->size_bytes, briq_space_seg_bytes(&store->space));
    return (uint32_t)briq_min_u64(store->space.seg_end, segments);
}

/* ---- superblocks ----------------------------------------------------------------------------- */

static void check_copy(struct briq_checker *c, unsigned slot, const struct briq_superblock sb[2],
                       const enum briq_sb_state state[2])
{
    const char *cure = "rewritten from the other copy";
    uint64_t *counter = &c->result->superblock_errors;
    unsigned long long where = briq_superblock_offset(slot);
    uint64_t generation = c->store->sb.generation;
    if (state[slot] != BRIQ_SB_OK)
        briq_check_error(c, counter, cure, "superblock copy %u at 0x%llx is damaged", slot, where);
    else if (sb[slot].generation == generation)
        return;
    else if (c->store->sb.clean)
        briq_check_error(c, counter, cure,
                         "superblock copy %u at 0x%llx is out of date (generation %" PRIu64
                         " instead of %" PRIu64 ")",
                         slot, where, sb[slot].generation, generation);
    else
        briq_check_note(c,
                        "superblock copy %u at 0x%llx is of generation %" PRIu64
                        " instead of %" PRIu64 ", as a crash can leave it",
                        slot, where, sb[slot].generation, generation);
}

static int check_superblocks(struct briq_checker *c)
{
    struct briq_superblock sb[2];
    enum briq_sb_state state[2];
    int r = briq_superblock_look(c->store->dev, sb, state);
    if (r < 0)
        return r;
    check_copy(c, 0, sb, state);
    check_copy(c, 1, sb, state);
    return 0;
}

/* ---- journal --------------------------------------------------------------------------------- */

static void tell_losses(struct briq_checker *c)
{
    const struct briq_recovery *recovery = &c->store->recovery;
    uint64_t sum = 0;
    c->result->lost_flushed = recovery->lost_flushed + recovery->lost_acked;
    c->unreadable += recovery->unreadable;
    if (recovery->unreadable > 0)
        briq_check_error(c, &c->result->chunk_errors, NULL,
                         "the journal cannot be read at %" PRIu64
                         " places: what it tells behind them is not known",
                         recovery->unreadable);
    if (recovery->broken_windows > 0)
        briq_check_error(c, &c->result->chunk_errors, "given up",
                         "%" PRIu64 " append windows of the server that died are damaged: what was "
                         "acknowledged and not flushed may be lost",
                         recovery->broken_windows);
    if (recovery->behind_end > 0)
        briq_check_error(c, &c->result->chunk_errors, "left out",
                         "the journal tells of %" PRIu64 " blocks behind the end of the volume",
                         recovery->behind_end);
    if (recovery->lost_acked > 0)
        briq_check_error(c, &sum, "given up; the volume is as it was before the first of them",
                         "the medium lost %" PRIu64 " operations that were acknowledged before "
                         "the process died, and not flushed",
                         recovery->lost_acked);
    if (recovery->lost_flushed == 0)
        return;
    briq_check_error(c, &sum,
                     "given up; the volume is as it was before the first of them, and can be "
                     "written again",
                     "the medium lost %" PRIu64 " operations that a flush had acknowledged: of "
                     "numbers up to %" PRIu64 " it has those up to %" PRIu64 "; %" PRIu64
                     " later ones that it has cannot be used without them",
                     recovery->lost_flushed, recovery->durable_seq, recovery->last_seq,
                     recovery->discarded);
}

static int check_journal(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    struct briq_recovery *recovery = &store->recovery;
    c->seq = store->sb.checkpoint_seq;
    if (store->sb.clean)
        return 0;
    int r = briq_recover(store, recovery, c->err);
    if (r < 0)
        return r;
    c->seq = recovery->last_seq;
    briq_check_note(c,
                    "the volume was not closed cleanly: %" PRIu64 " operations replayed (%s), "
                    "%" PRIu64 " dropped that were never acknowledged as durable",
                    recovery->applied, recovery->process_death ? "process death" : "power cut",
                    briq_recovery_is_whole(recovery) ? recovery->discarded : 0);
    tell_losses(c);
    return briq_check_accounts(c, "after the replay");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int make_arrays(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    uint64_t bits = store->map.page_max * BRIQ_PAGE_WORDS / 8;
    c->seg_flags = briq_vmem_map(store->space.seg_max);
    c->live = briq_vmem_map(store->space.seg_max * sizeof *c->live);
    c->page_flags = briq_vmem_map(store->map.page_max);
    c->lost_blocks = briq_vmem_map(bits);
    c->backed = briq_vmem_map(bits);
    c->scan = aligned_alloc(BRIQ_CHUNK_ALIGN, sizeof *c->scan);
    c->chunk = aligned_alloc(BRIQ_CHUNK_ALIGN, store->windows.window_bytes);
    c->extent = malloc(BRIQ_EXTENT_GRANULES_MAX * BRIQ_GRANULE_BYTES);
    bool ok = c->seg_flags && c->live && c->page_flags && c->lost_blocks && c->backed && c->scan &&
              c->chunk && c->extent;
    return ok ? 0 : -ENOMEM;
}

static void free_arrays(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    uint64_t bits = store->map.page_max * BRIQ_PAGE_WORDS / 8;
    briq_vmem_unmap(c->seg_flags, store->space.seg_max);
    briq_vmem_unmap(c->live, store->space.seg_max * sizeof *c->live);
    briq_vmem_unmap(c->page_flags, store->map.page_max);
    briq_vmem_unmap(c->lost_blocks, bits);
    briq_vmem_unmap(c->backed, bits);
    free(c->scan);
    free(c->chunk);
    free(c->extent);
    while (c->cures != NULL) {
        struct briq_check_cure *next = c->cures->next;
        free(c->cures);
        c->cures = next;
    }
}

static int run(struct briq_checker *c)
{
    int r = make_arrays(c);
    if (r == 0)
        r = check_superblocks(c);
    if (r == 0)
        r = briq_check_tree(c);
    if (r == 0)
        r = briq_open_check_length(c->store, c->err);
    if (r == 0)
        r = briq_check_map(c);
    if (r == 0 && (c->pages_lost > 0 || c->words_lost > 0 || c->pages_wanted > 0))
        r = briq_check_rebuild(c);
    if (r == 0)
        r = briq_check_accounts(c, "at the last checkpoint");
    if (r == 0)
        r = check_journal(c);
    if (r == 0)
        r = briq_check_segments(c);
    return r;
}

/*
 * What the medium failed to read this time it may read the next. Whoever writes a new state without
 * it has thrown it away for good.
 */
static int refuse_unreadable(struct briq_checker *c, const char *path)
{
    if (!c->options->repair || c->unreadable == 0)
        return 0;
    return briq_error_set(c->err, -EIO,
                          "%s: is not repaired, for the medium cannot be read at %" PRIu64
                          " places that matter: copy it to a sound one (ddrescue), and repair the "
                          "copy",
                          path, c->unreadable);
}

static bool needs_repair(struct briq_checker *c)
{
    c->superblock_only = c->store->sb.clean && c->cure_count == c->result->superblock_errors;
    return c->options->repair && (c->cure_count > 0 || !c->store->sb.clean);
}

/* Ends the store; it writes a last checkpoint only if a repair has begun to write. */
static int finish(struct briq_checker *c, int r, bool repairing)
{
    struct briq_store *store = c->store;
    if (!repairing)
        store->opened_read_only = true;
    int closed = briq_store_close(store);
    c->store = NULL;
    return r < 0 ? r : closed;
}

static int check(struct briq_checker *c, const char *path)
{
    bool repairing = false;
    int r = run(c);
    if (r == 0)
        r = refuse_unreadable(c, path);
    if (r == 0 && needs_repair(c)) {
        repairing = true;
        r = briq_check_repair(c);
    }
    if (r == 0 && c->options->progress != NULL && c->total > 0)
        c->options->progress(c->options->opaque, c->total, c->total);
    tell_cures(c, r);
    free_arrays(c);
    r = finish(c, r, repairing);
    if (r == 0)
        return 0;
    return briq_error_set(c->err, r, "%s: cannot %s: %s", path,
                          repairing ? "write what was mended" : "check", strerror(-r));
}

int briq_check(const char *path, const struct briq_check_options *options,
               struct briq_check_result *result, struct briq_error *err)
{
    struct briq_checker c = {.options = options, .result = result, .err = err};
    struct briq_open_options open_options = {
        .read_only = !options->repair,
        .streams = 1,
        .windows = options->repair ? REPAIR_WINDOWS : BRIQ_WINDOWS_MAX, /* of a dead server */
        .growth_bytes = options->growth_bytes,
        .windows_dir = options->windows_dir,
        .device = options->device,
        .boot_id = options->boot_id,
    };
    memset(result, 0, sizeof *result);
    c.cures_end = &c.cures;
    if (options->device == NULL && strncmp(path, "mem:", 4) == 0)
        return briq_error_set(err, -EINVAL,
                              "%s: a volume in memory is gone with its process: nothing to check",
                              path);
    int r = briq_open_parts(path, &open_options, err, &c.store);
    return r < 0 ? r : check(&c, path);
}
