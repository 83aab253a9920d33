/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/contest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "tests/model/worker.h"

/* Operations on one block before it must fall quiet; the last read comes on top. */
#define OVERLAP_MAX (TEST_LINEAR_MAX - 2)

struct history {
    unsigned count;
    struct test_effect effects[TEST_LINEAR_MAX];
    enum request_kind kinds[TEST_LINEAR_MAX];
    uint64_t numbers[TEST_LINEAR_MAX];
    uint8_t data[TEST_LINEAR_MAX][TEST_BLOCK_BYTES];
};

void contest_init(struct contest *contest, struct worker *worker)
{
    uint64_t blocks = briq_div_up(worker->expect.size_max, TEST_BLOCK_BYTES);
    *contest = (struct contest){.worker = worker, .blocks = blocks};
    contest->in_flight = calloc(blocks, sizeof *contest->in_flight);
    contest->histories = calloc(blocks, sizeof *contest->histories);
    contest->quiet = calloc(blocks, sizeof *contest->quiet);
    contest->left = calloc(blocks, sizeof *contest->left);
    if (contest->in_flight == NULL || contest->histories == NULL || contest->quiet == NULL ||
        contest->left == NULL)
        report_fail(worker->report, "the test itself is out of memory");
}

void contest_fini(struct contest *contest)
{
    for (uint64_t block = 0; block < contest->blocks; block++)
        free(contest->histories[block]);
    free(contest->in_flight);
    free(contest->histories);
    free(contest->quiet);
    free(contest->left);
}

static unsigned overlap(const struct contest *contest, uint64_t block)
{
    const struct history *history = contest->histories[block];
    return contest->in_flight[block] + (history == NULL ? 0 : history->count);
}

/* A block with a history and nothing in flight is waiting for its last read. */
static bool closed(const struct contest *contest, uint64_t block)
{
    return contest->histories[block] != NULL && contest->in_flight[block] == 0;
}

bool contest_admits(const struct contest *contest, const struct request *request)
{
    uint64_t first, end;
    expect_blocks(&contest->worker->expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++)
        if (closed(contest, block) || overlap(contest, block) >= OVERLAP_MAX)
            return false;
    return true;
}

void contest_enter(struct contest *contest, const struct request *request)
{
    uint64_t first, end;
    expect_blocks(&contest->worker->expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++)
        contest->in_flight[block]++;
}

static void remember(struct contest *contest, const struct request *request, uint64_t block,
                     const struct test_effect *effect)
{
    struct history *history = contest->histories[block];
    if (history == NULL) {
        history = contest->histories[block] = malloc(sizeof *history);
        if (history == NULL)
            report_fail(contest->worker->report, "the test itself is out of memory");
        history->count = 0;
    }
    BRIQ_ASSERT(history->count < TEST_LINEAR_MAX);
    unsigned i = history->count++;
    history->effects[i] = *effect;
    history->kinds[i] = request->kind;
    history->numbers[i] = request->number;
    if (effect->data != NULL) {
        memcpy(history->data[i], effect->data, effect->hi - effect->lo);
        history->effects[i].data = history->data[i];
    }
}

static void compare_or_apply(struct contest *contest, const struct request *request, uint64_t block,
                             const struct test_effect *effect)
{
    struct expect *expect = &contest->worker->expect;
    if (effect->kind == TEST_EFFECT_READ) {
        expect_check_block(expect, request, block, effect);
        return;
    }
    struct test_block view = expect_get(expect, block);
    test_effect_apply(effect, &view);
    expect_put(expect, block, view);
}

static void leave_block(struct contest *contest, const struct request *request, uint64_t block,
                        const struct test_effect *effect)
{
    bool alone = contest->in_flight[block] == 1 && contest->histories[block] == NULL;
    if (alone && !effect->optional)
        compare_or_apply(contest, request, block, effect);
    else
        remember(contest, request, block, effect);
    contest->in_flight[block]--;
    contest->left[block] = effect->end;
    if (closed(contest, block)) {
        uint64_t last = (contest->quiet_first + contest->quiet_count++) % contest->blocks;
        contest->quiet[last] = block;
    }
}

void contest_leave(struct contest *contest, const struct request *request, const uint8_t *data,
                   bool failed, uint64_t begin, uint64_t end_time)
{
    uint64_t first, end;
    expect_blocks(&contest->worker->expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++) {
        struct test_effect effect =
            expect_effect(&contest->worker->expect, request, block, data, failed);
        effect.begin = begin;
        effect.end = end_time;
        leave_block(contest, request, block, &effect);
    }
}

bool contest_take_quiet(struct contest *contest, uint64_t *ret_block)
{
    if (contest->quiet_count == 0)
        return false;
    *ret_block = contest->quiet[contest->quiet_first];
    contest->quiet_first = (contest->quiet_first + 1) % contest->blocks;
    contest->quiet_count--;
    return true;
}

/* The operations that have no order, for the message. */
static void tell(const struct history *history, char *text, size_t text_len)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < history->count && used < text_len; i++) {
        const struct test_effect *effect = &history->effects[i];
        int len =
            snprintf(text + used, text_len - used,
                     "\n  op %" PRIu64 " %s bytes %u..%u of it%s, during %" PRIu64 "..%" PRIu64,
                     history->numbers[i], request_name(history->kinds[i]), effect->lo, effect->hi,
                     effect->optional ? " (perhaps)" : "", effect->begin, effect->end);
        used += len > 0 ? (size_t)len : 0;
    }
}

void contest_settle(struct contest *contest, const struct request *read, uint64_t block,
                    const uint8_t *data, uint64_t begin, uint64_t end)
{
    struct expect *expect = &contest->worker->expect;
    struct history *history = contest->histories[block];
    struct test_effect effect = expect_effect(expect, read, block, data, false);
    effect.begin = begin;
    effect.end = end;
    remember(contest, read, block, &effect);
    struct test_block view = expect_get(expect, block);
    if (!test_linear_solve(history->effects, history->count, &view)) {
        char text[1024];
        tell(history, text, sizeof text);
        report_fail(expect->report,
                    "block %" PRIu64 ": no order of these operations explains what was read:%s",
                    expect->base / TEST_BLOCK_BYTES + block, text);
    }
    expect_put(expect, block, view);
    free(history);
    contest->histories[block] = NULL;
}

bool contest_unsure(void *opaque, uint64_t block)
{
    const struct contest_since *since = opaque;
    const struct contest *contest = since->contest;
    return contest->histories[block] != NULL || contest->in_flight[block] > 0 ||
           contest->left[block] >= since->begin;
}
