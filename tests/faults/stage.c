/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/align.h"

#define NAME "volume.briq"

void stage_open(struct stage *s)
{
    memset(s, 0, sizeof *s);
    test_dir_open(&s->dir, TEST_DIR_MEMORY);
    test_dir_open(&s->windows, TEST_DIR_MEMORY);
    s->path = test_dir_file(&s->dir, NAME);
}

void stage_close(struct stage *s)
{
    test_dir_close(&s->dir);
    test_dir_close(&s->windows);
}

void stage_fail(struct stage *s, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s: %s %s at call %" PRIu64 ": ", s->scenario, seam_name(&s->fault),
            s->fault.ever ? "for ever" : "once", s->fault.skip);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n  last error: %s\n  last complaint: %s\n", s->err.text, s->complaint);
    stage_close(s);
    _exit(1);
}

static void need(struct stage *s, bool well, const char *what)
{
    if (!well)
        stage_fail(s, "%s: %s", what, strerror(errno));
}

/* ---- snapshots --------------------------------------------------------------------------------
 */

/* The data of a file without its holes: from off on, [*ret_from, *ret_to). False: there is none. */
static bool next_data(int fd, uint64_t off, uint64_t size, uint64_t *ret_from, uint64_t *ret_to)
{
    off_t from = lseek(fd, (off_t)off, SEEK_DATA);
    if (from < 0 || (uint64_t)from >= size)
        return false;
    *ret_from = (uint64_t)from;
    *ret_to = briq_min_u64((uint64_t)lseek(fd, from, SEEK_HOLE), size);
    return true;
}

static void read_data(struct stage *s, int fd, uint8_t *bytes, uint64_t size)
{
    for (uint64_t off = 0, from, to; next_data(fd, off, size, &from, &to); off = to)
        need(s, pread(fd, bytes + from, to - from, (off_t)from) == (ssize_t)(to - from), "reading");
}

static uint8_t *read_file(struct stage *s, const char *path, uint64_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(s, fd >= 0 && fstat(fd, &st) == 0, path);
    uint8_t *bytes = calloc(1, (size_t)st.st_size + 1);
    need(s, bytes != NULL, path);
    read_data(s, fd, bytes, (uint64_t)st.st_size);
    close(fd);
    *ret_size = (uint64_t)st.st_size;
    return bytes;
}

/* In place, what differs: the windows know the file by its number. */
static void write_file(struct stage *s, const char *path, const uint8_t *bytes, uint64_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    need(s, fd >= 0 && ftruncate(fd, (off_t)size) == 0, path);
    uint8_t *now = calloc(1, size + 1);
    need(s, now != NULL, "memory");
    read_data(s, fd, now, size);
    for (uint64_t off = 0; off < size; off += BRIQ_BLOCK_BYTES) {
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, size - off);
        if (memcmp(now + off, bytes + off, len) != 0)
            need(s, pwrite(fd, bytes + off, len, (off_t)off) == (ssize_t)len, path);
    }
    free(now);
    close(fd);
}

static void keep_windows(struct stage *s, struct snapshot *snapshot)
{
    DIR *stream = opendir(s->windows.path);
    need(s, stream != NULL, s->windows.path);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        need(s, snapshot->windows_count < STAGE_FILES_MAX, "many windows files");
        struct test_path path = test_dir_file(&s->windows, entry->d_name);
        unsigned i = snapshot->windows_count++;
        snprintf(snapshot->windows[i].name, sizeof snapshot->windows[i].name, "%.120s",
                 entry->d_name);
        snapshot->windows[i].bytes = read_file(s, path.text, &snapshot->windows[i].size);
    }
    closedir(stream);
}

void stage_keep(struct stage *s, struct snapshot *snapshot)
{
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->bytes = read_file(s, s->path.text, &snapshot->size);
    snapshot->history = malloc(sizeof s->history);
    need(s, snapshot->history != NULL, "memory");
    memcpy(snapshot->history, &s->history, sizeof s->history);
    snapshot->volume_bytes = s->volume_bytes;
    keep_windows(s, snapshot);
}

void stage_restore(struct stage *s, const struct snapshot *snapshot)
{
    write_file(s, s->path.text, snapshot->bytes, snapshot->size);
    test_dir_empty(&s->windows);
    for (unsigned i = 0; i < snapshot->windows_count; i++)
        write_file(s, test_dir_file(&s->windows, snapshot->windows[i].name).text,
                   snapshot->windows[i].bytes, snapshot->windows[i].size);
    memcpy(&s->history, snapshot->history, sizeof s->history);
    s->volume_bytes = snapshot->volume_bytes;
    s->volume_bytes_up = 0;
    s->errors = s->complaints = 0;
    s->limbo = s->older = s->gave_up = s->well = false;
    s->complaint[0] = s->err.text[0] = '\0';
}

void snapshot_free(struct snapshot *snapshot)
{
    free(snapshot->bytes);
    free(snapshot->history);
    for (unsigned i = 0; i < snapshot->windows_count; i++)
        free(snapshot->windows[i].bytes);
    memset(snapshot, 0, sizeof *snapshot);
}

/* ---- judging ----------------------------------------------------------------------------------
 */

bool stage_fault_is_final(const struct stage *s)
{
    bool fails = s->fault.way == SEAM_FAIL || s->fault.way == SEAM_HALF;
    return fails && (s->fault.kind == SEAM_WRITE || s->fault.kind == SEAM_FLUSH) &&
           seam_struck() > 0;
}

/* After every call of an open volume. */
static int judge(struct stage *s, int r, const char *what)
{
    s->errors += r < 0;
    if (r < 0 && seam_struck() == 0 && !s->lies)
        stage_fail(s, "%s failed before the fault struck: %s", what, strerror(-r));
    if (s->store != NULL && stage_fault_is_final(s) && !briq_store_read_only(s->store))
        stage_fail(s, "after %s the volume can still be written", what);
    return r;
}

static void look_at(struct stage *s, struct briq_store *store)
{
    struct finding *found = &s->found;
    memset(found, 0, sizeof *found);
    uint64_t size = briq_min_u64(briq_store_size(store), s->volume_bytes);
    for (uint64_t off = 0; off < size; off += BRIQ_BLOCK_BYTES) {
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, size - off);
        int r = briq_read(store, found->bytes + off, len, off);
        found->unreadable[off / BRIQ_BLOCK_BYTES] = r < 0;
        found->unreadable_count += r < 0;
        if (r < 0 && !s->lies)
            stage_fail(s, "byte %" PRIu64 " cannot be read any more: %s", off, strerror(-r));
    }
}

/* Whether the store's content is what some N >= least deeds leave; sets *ret_n. */
static void explain(struct stage *s, unsigned least, unsigned *ret_n, const char *when)
{
    if (history_explains(&s->history, &s->found, s->volume_bytes, least, ret_n))
        return;
    history_print(&s->history, &s->found, s->volume_bytes);
    stage_fail(s, "%s it does not hold what %u or more deeds leave", when, least);
}

void stage_verify(struct stage *s)
{
    unsigned n;
    if (s->store == NULL)
        return;
    look_at(s, s->store);
    explain(s, s->older ? 0 : s->history.done, &n, "while it is open");
}

static bool holds(const struct stage *s, const struct deed *deed, bool applied)
{
    uint8_t state[64 * BRIQ_BLOCK_BYTES];
    uint32_t first = deed->off / BRIQ_BLOCK_BYTES * BRIQ_BLOCK_BYTES;
    uint64_t end = briq_min_u64(briq_align_up((uint64_t)deed->off + deed->len, BRIQ_BLOCK_BYTES),
                                s->volume_bytes);
    BRIQ_ASSERT(end - first <= sizeof state);
    memcpy(state, s->history.now + first, end - first);
    if (applied && deed->clears)
        memset(state + (deed->off - first), 0, deed->len);
    else if (applied)
        history_bytes(deed->number, deed->off, state + (deed->off - first), deed->len);
    return memcmp(state, s->found.bytes + first, end - first) == 0;
}

/* A change that failed, in a volume that goes on: which of its deeds happened? */
static void sort_out(struct stage *s, unsigned begun)
{
    struct history *h = &s->history;
    struct deed deeds[64];
    BRIQ_ASSERT(begun <= BRIQ_COUNT_OF(deeds));
    memcpy(deeds, &h->deeds[h->done], begun * sizeof deeds[0]);
    history_forget(h, begun);
    look_at(s, s->store);
    for (unsigned i = 0; i < begun; i++) {
        if (holds(s, &deeds[i], true)) {
            history_begin(h, &deeds[i]);
            history_done(h);
        } else if (!holds(s, &deeds[i], false)) {
            stage_fail(s, "a change of %u bytes at %u failed half way", deeds[i].len, deeds[i].off);
        }
    }
}

/* What a change answered, of which the last `begun` deeds are. */
static int changed(struct stage *s, int r, unsigned begun, unsigned flags, const char *what)
{
    if (r != -ENOSPC || !s->tight)
        judge(s, r, what);
    if (r == 0) {
        history_done(&s->history);
        if (flags & BRIQ_OP_FUA)
            s->history.flushed = s->history.done;
    } else if (briq_store_read_only(s->store) || s->lies) {
        s->limbo = true;
    } else {
        sort_out(s, begun);
    }
    return r;
}

/* Nothing changes after a failure that left things open. */
static bool is_over(struct stage *s, int (*again)(struct stage *s))
{
    if (s->store == NULL)
        return true;
    if (!s->limbo && !briq_store_read_only(s->store))
        return false;
    if (briq_store_read_only(s->store) && again(s) == 0)
        stage_fail(s, "a volume that is read-only takes a change");
    return true;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void take_line(void *opaque, enum briq_log_level level, const char *line)
{
    struct stage *s = opaque;
    if (level != BRIQ_LOG_ERROR)
        return;
    s->complaints++;
    snprintf(s->complaint, sizeof s->complaint, "%s", line);
}

int stage_volume_create(struct stage *s, const struct briq_create_options *options)
{
    s->err.text[0] = '\0';
    seam_enter();
    int r = briq_store_create(s->path.text, options, &s->err);
    seam_leave();
    if (r == 0)
        s->volume_bytes = options->size_bytes;
    else if (s->err.text[0] == '\0')
        stage_fail(s, "the creation failed without a word");
    return judge(s, r, "the creation");
}

int stage_volume_open(struct stage *s, const struct briq_open_options *options)
{
    struct briq_open_options o = *options;
    o.streams = o.streams == 0 ? (s->tight ? 1 : 2) : o.streams;
    o.windows = o.windows == 0 ? 16 : o.windows;
    o.growth_bytes = HISTORY_BYTES_UP;
    o.windows_dir = s->windows.path;
    o.log = (struct briq_log){.sink = take_line, .opaque = s};
    s->err.text[0] = '\0';
    s->store = NULL;
    seam_enter();
    int r = briq_store_open(s->path.text, &o, &s->err, &s->store);
    seam_leave();
    if (r < 0 && s->err.text[0] == '\0')
        stage_fail(s, "the opening failed without a word");
    s->older = s->lies && s->history.count > 0; /* what a crash left was read through the lies */
    if (r == 0 && briq_store_read_only(s->store) && !o.read_only) {
        if (s->complaints == 0)
            stage_fail(s, "it is read-only now and nobody says why");
        s->older = true;
    }
    s->older = s->older || (o.read_only && s->complaints > 0);
    if (r == 0 && !o.read_only && stage_fault_is_final(s))
        stage_fail(s, "the opening succeeded although the medium failed");
    return judge(s, r, "the opening");
}

int stage_volume_close(struct stage *s)
{
    if (s->store == NULL)
        return 0;
    bool read_only = briq_store_read_only(s->store);
    seam_enter();
    int r = briq_store_close(s->store);
    seam_leave();
    s->store = NULL;
    if (r == 0 && stage_fault_is_final(s))
        stage_fail(s, "the closing succeeded although the medium failed");
    if (r == 0 && !read_only && !s->limbo)
        s->history.flushed = s->history.done;
    return judge(s, r, "the closing");
}

int stage_start(struct stage *s)
{
    if (s->store == NULL)
        return 0;
    seam_enter();
    int r = briq_store_start(s->store);
    seam_leave();
    return judge(s, r, "starting the thread");
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static int write_again(struct stage *s)
{
    uint8_t bytes[100] = "not to be written";
    seam_enter();
    int r = briq_write(s->store, bytes, sizeof bytes, 0, 0);
    seam_leave();
    return r;
}

int stage_write(struct stage *s, uint64_t off, uint32_t len, unsigned flags)
{
    static uint8_t bytes[64 * BRIQ_BLOCK_BYTES];
    unsigned begun = 0;
    if (is_over(s, write_again))
        return -EIO;
    for (uint32_t at = 0, part; at < len; at += part, begun++) {
        part = (uint32_t)briq_min_u64(BRIQ_BLOCK_BYTES - (off + at) % BRIQ_BLOCK_BYTES, len - at);
        struct deed deed = {
            .off = (uint32_t)(off + at), .len = part, .number = ++s->history.numbers};
        history_bytes(deed.number, deed.off, bytes + at, part);
        history_begin(&s->history, &deed);
    }
    seam_enter();
    int r = briq_write(s->store, bytes, len, off, flags);
    seam_leave();
    return changed(s, r, begun, flags, "a write");
}

int stage_trim(struct stage *s, uint64_t off, uint32_t len, unsigned flags)
{
    if (is_over(s, write_again))
        return -EIO;
    uint64_t first = briq_align_up(off, BRIQ_BLOCK_BYTES);
    uint64_t end = briq_align_down(off + len, BRIQ_BLOCK_BYTES);
    struct deed deed = {.off = (uint32_t)first, .len = (uint32_t)(end - first), .clears = true};
    unsigned begun = end > first;
    if (begun)
        history_begin(&s->history, &deed);
    seam_enter();
    int r = briq_trim(s->store, len, off, flags);
    seam_leave();
    return changed(s, r, begun, flags, "a trim");
}

/* The end of the first block, the blocks between, the beginning of the last. */
int stage_zero(struct stage *s, uint64_t off, uint32_t len, unsigned flags)
{
    unsigned begun = 0;
    if (is_over(s, write_again))
        return -EIO;
    for (uint64_t at = off, end = off + len; at < end; begun++) {
        uint64_t next = briq_align_up(at + 1, BRIQ_BLOCK_BYTES);
        if (at % BRIQ_BLOCK_BYTES == 0 && end - at >= BRIQ_BLOCK_BYTES)
            next = briq_align_down(end, BRIQ_BLOCK_BYTES);
        next = briq_min_u64(next, end);
        struct deed deed = {.off = (uint32_t)at, .len = (uint32_t)(next - at), .clears = true};
        history_begin(&s->history, &deed);
        at = next;
    }
    seam_enter();
    int r = briq_zero(s->store, len, off, flags);
    seam_leave();
    return changed(s, r, begun, flags, "a zero");
}

int stage_flush(struct stage *s)
{
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_flush(s->store);
    seam_leave();
    if (r == 0 && stage_fault_is_final(s))
        stage_fail(s, "a flush succeeded although the medium failed");
    if (r == 0 && !s->limbo)
        s->history.flushed = s->history.done;
    return judge(s, r, "a flush");
}

int stage_read(struct stage *s, uint64_t off, uint32_t len)
{
    static uint8_t bytes[64 * BRIQ_BLOCK_BYTES];
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_read(s->store, bytes, len, off);
    seam_leave();
    if (r == 0 && !s->limbo && !s->older && memcmp(bytes, s->history.now + off, len) != 0)
        stage_fail(s, "a read of %u bytes at %" PRIu64 " returned something else", len, off);
    return judge(s, r, "a read");
}

/* ---- care -------------------------------------------------------------------------------------
 */

int stage_checkpoint(struct stage *s)
{
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_store_checkpoint(s->store);
    seam_leave();
    if (r == 0 && !s->limbo)
        s->history.flushed = s->history.done;
    return judge(s, r, "a checkpoint");
}

int stage_maintain(struct stage *s)
{
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_store_maintain(s->store);
    seam_leave();
    return judge(s, r, "maintenance");
}

int stage_compact(struct stage *s)
{
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_store_compact(s->store, NULL, NULL);
    seam_leave();
    return judge(s, r, "a compaction");
}

int stage_resize(struct stage *s, uint64_t bytes)
{
    if (s->store == NULL)
        return -EIO;
    seam_enter();
    int r = briq_store_resize(s->store, bytes, &s->err);
    seam_leave();
    uint64_t want = r == 0 ? bytes : s->volume_bytes;
    if (briq_store_size(s->store) != want)
        stage_fail(s, "the volume has another size than it said");
    if (r == 0)
        s->volume_bytes = bytes;
    else
        s->volume_bytes_up = bytes;
    return judge(s, r, "a resize");
}

static void take_finding(void *opaque, const char *line)
{
    struct stage *s = opaque;
    snprintf(s->complaint, sizeof s->complaint, "%s", line);
    s->gave_up = s->gave_up || strstr(line, "given up") != NULL;
}

static uint64_t sum(const struct briq_check_result *r)
{
    return r->superblock_errors + r->map_errors + r->segment_errors + r->chunk_errors +
           r->payload_errors + r->lost_flushed;
}

int stage_check(struct stage *s, bool deep, bool repair)
{
    struct briq_check_options options = {.deep = deep,
                                         .repair = repair,
                                         .report = take_finding,
                                         .opaque = s,
                                         .windows_dir = s->windows.path};
    struct briq_check_result result;
    struct snapshot before = {0}, after = {0};
    s->err.text[0] = '\0';
    bool compare = !repair && !s->well;
    if (compare)
        stage_keep(s, &before);
    seam_enter();
    int r = briq_check(s->path.text, &options, &result, &s->err);
    seam_leave();
    if (r < 0 && s->err.text[0] == '\0')
        stage_fail(s, "the check failed without a word");
    if (compare) {
        stage_keep(s, &after);
        if (after.size != before.size || memcmp(after.bytes, before.bytes, after.size) != 0)
            stage_fail(s, "a check changed the volume");
        snapshot_free(&before);
        snapshot_free(&after);
    }
    judge(s, r, "a check");
    return r == 0 && sum(&result) > 0 && !repair ? 1 : r;
}

int stage_dump(struct stage *s)
{
    FILE *out = fopen("/dev/null", "we");
    need(s, out != NULL, "/dev/null");
    int first = 0;
    for (int what = BRIQ_DUMP_SUPERBLOCK; what <= BRIQ_DUMP_MAP; what++) {
        struct briq_dump_options options = {
            .what = (enum briq_dump_what)what, .segment = -1, .count = HISTORY_BLOCKS};
        seam_enter();
        int r = briq_dump(s->path.text, &options, out, &s->err);
        seam_leave();
        judge(s, r, "a dump");
        first = first == 0 ? r : first;
    }
    fclose(out);
    return first;
}

int stage_info(struct stage *s)
{
    struct briq_volume_info info;
    seam_enter();
    int r = briq_volume_info(s->path.text, &info, &s->err);
    seam_leave();
    if (r == 0 && info.size_bytes != s->volume_bytes)
        stage_fail(s, "info tells another size");
    return judge(s, r, "info");
}

/* ---- afterwards -------------------------------------------------------------------------------
 */

static void open_healthy(struct stage *s)
{
    struct briq_open_options o = {.windows_dir = s->windows.path,
                                  .streams = s->tight ? 1 : 2,
                                  .windows = 16,
                                  .log = {.sink = take_line, .opaque = s}};
    s->err.text[0] = '\0';
    int r = briq_store_open(s->path.text, &o, &s->err, &s->store);
    if (r < 0 && !s->lies)
        stage_fail(s, "it cannot be opened any more: %s", strerror(-r));
    if (r < 0)
        return;
    uint64_t size = briq_store_size(s->store);
    if (size == s->volume_bytes_up)
        s->volume_bytes = size;
    if (size != s->volume_bytes && !s->lies)
        stage_fail(s, "its size has changed");
    if (briq_store_read_only(s->store) && !s->lies)
        stage_fail(s, "it can only be read now");
}

void stage_verify_closed(struct stage *s, unsigned least)
{
    unsigned n;
    open_healthy(s);
    if (s->store == NULL)
        return;
    look_at(s, s->store);
    explain(s, least, &n, "opened again");
    history_forget(&s->history, s->history.count - s->history.done);
    s->limbo = false;
    if (n < s->history.done)
        s->history.done = s->history.count = n;
    memcpy(s->history.now, s->found.bytes, s->volume_bytes);
    history_settle(&s->history);
}

bool stage_holds_known_blocks(struct stage *s)
{
    open_healthy(s);
    if (s->store == NULL)
        return false;
    look_at(s, s->store);
    if (!history_knows(&s->history, &s->found, s->volume_bytes)) {
        history_print(&s->history, &s->found, s->volume_bytes);
        stage_fail(s, "opened again a block holds what it never held");
    }
    if (briq_store_close(s->store) < 0)
        s->errors++;
    s->store = NULL;
    return true;
}

void stage_expect_well(struct stage *s)
{
    if (s->store == NULL)
        return;
    seam_plant(&(struct seam_fault){.skip = UINT64_MAX}); /* none: nothing may fail any more */
    s->well = true;
    if (s->tight)
        (void)stage_trim(s, 0, 32 * BRIQ_BLOCK_BYTES, 0);
    for (unsigned i = 0; i < 3; i++)
        if (stage_write(s, i * 9000, 5000, 0) != 0 || stage_flush(s) != 0)
            stage_fail(s, "it takes no writes any more");
    stage_verify(s);
    if (stage_volume_close(s) != 0)
        stage_fail(s, "it cannot be closed well any more");
    if (stage_check(s, true, false) != 0)
        stage_fail(s, "a check finds something");
}
