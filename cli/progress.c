/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "common/base/size.h"

#define TERMINAL_INTERVAL_MS 100
#define LINE_INTERVAL_MS     5000
#define RATE_SMOOTH_S        3.0 /* time after which an old rate counts for about a third */
#define BAR_COLUMNS_MIN      10
#define BAR_COLUMNS_MAX      50
#define LINE_MAX_BYTES       256

void briq_progress_init(struct briq_progress *p, const char *what, enum briq_progress_unit unit,
                        uint64_t total, bool quiet)
{
    uint64_t now = briq_clock_ns();
    *p = (struct briq_progress){
        .what = what,
        .unit = unit,
        .total = total,
        .quiet = quiet,
        .terminal = isatty(STDERR_FILENO) == 1,
        .start_ns = now,
        .shown_ns = now,
    };
}

int briq_progress_interval_ms(const struct briq_progress *p)
{
    return p->terminal && !p->quiet ? TERMINAL_INTERVAL_MS : LINE_INTERVAL_MS;
}

static unsigned terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

static void take_rate(struct briq_progress *p, uint64_t now, uint64_t done)
{
    double elapsed = (double)(now - p->shown_ns) / 1e9;
    double rate = done > p->shown_done ? (double)(done - p->shown_done) / elapsed : 0;
    double weight = elapsed / (elapsed + RATE_SMOOTH_S);
    bool first = p->shown_ns == p->start_ns;
    p->rate = first ? rate : p->rate + weight * (rate - p->rate);
    p->shown_ns = now;
    p->shown_done = done;
}

static void format_amount(const struct briq_progress *p, uint64_t n, char *text, size_t max)
{
    char size[BRIQ_SIZE_TEXT_MAX];
    if (p->unit == BRIQ_PROGRESS_BYTES)
        snprintf(text, max, "%s", briq_size_format(n, size));
    else
        snprintf(text, max, "%" PRIu64, n);
}

/* "1:02:03" or "2:03"; "-" while nothing moves. */
static void format_left(const struct briq_progress *p, uint64_t done, char *text, size_t max)
{
    double left = p->rate > 0 ? (double)(p->total - done) / p->rate : -1;
    if (left < 0 || left > 359999) {
        snprintf(text, max, "-");
        return;
    }
    unsigned s = (unsigned)(left + 0.5);
    if (s >= 3600)
        snprintf(text, max, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, max, "%u:%02u", s / 60, s % 60);
}

/* Everything but the bar: "1.2 GiB of 2.8 GiB, 312.0 MB/s, ETA 0:05". */
static void format_facts(const struct briq_progress *p, uint64_t done, char *text, size_t max)
{
    char amount[32], total[32], left[32], rate[32] = "";
    format_amount(p, done, amount, sizeof amount);
    if (p->unit == BRIQ_PROGRESS_BYTES)
        snprintf(rate, sizeof rate, ", %.0f MB/s", p->rate / 1e6);
    if (p->total == 0) {
        snprintf(text, max, "%s%s", amount, rate);
        return;
    }
    format_amount(p, p->total, total, sizeof total);
    format_left(p, done, left, sizeof left);
    snprintf(text, max, "%s of %s%s, ETA %s", amount, total, rate, left);
}

static unsigned percent(const struct briq_progress *p, uint64_t done)
{
    return (unsigned)((double)done * 100.0 / (double)p->total);
}

static void format_bar(const struct briq_progress *p, uint64_t done, unsigned columns, char *text)
{
    unsigned full = (unsigned)((double)done / (double)p->total * columns);
    *text++ = '[';
    memset(text, '#', full);
    memset(text + full, '-', columns - full);
    memcpy(text + columns, "]", 2);
}

static void draw_bar(struct briq_progress *p, uint64_t done)
{
    char facts[LINE_MAX_BYTES], bar[BAR_COLUMNS_MAX + 3] = "", share[8] = "";
    format_facts(p, done, facts, sizeof facts);
    if (p->total != 0) {
        size_t used = strlen(p->what) + strlen(" 100 % [] ") + strlen(facts) + 1;
        unsigned columns = terminal_columns();
        if (columns >= used + BAR_COLUMNS_MIN)
            format_bar(p, done, (unsigned)briq_min_u64(columns - used, BAR_COLUMNS_MAX), bar);
        snprintf(share, sizeof share, "%3u %%", percent(p, done));
    }
    fprintf(stderr, "\r%s %s %s%s%s\033[K", p->what, share, bar, bar[0] != '\0' ? " " : "", facts);
    fflush(stderr);
    p->drawn = true;
}

static void print_line(const struct briq_progress *p, uint64_t done)
{
    char facts[LINE_MAX_BYTES];
    format_facts(p, done, facts, sizeof facts);
    if (p->total != 0)
        fprintf(stderr, "%s: %u %%, %s\n", p->what, percent(p, done), facts);
    else
        fprintf(stderr, "%s: %s\n", p->what, facts);
}

void briq_progress_update(struct briq_progress *p, uint64_t done)
{
    if (p->quiet)
        return;
    uint64_t now = briq_clock_ns();
    if (now - p->shown_ns < (uint64_t)briq_progress_interval_ms(p) * 1000000u)
        return;
    if (p->total != 0)
        done = briq_min_u64(done, p->total);
    take_rate(p, now, done);
    if (p->terminal)
        draw_bar(p, done);
    else
        print_line(p, done);
}

void briq_progress_end(struct briq_progress *p)
{
    if (!p->drawn)
        return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    p->drawn = false;
}
