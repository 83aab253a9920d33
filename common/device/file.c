/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * file.c - a regular file or a block device as a device.
 *
 * Buffered by default: the kernel's page cache takes any offset and length. With direct I/O the
 * device says what alignment it needs and the caller keeps to it. Only the end of a file need not
 * be aligned (somebody cut or copied it), and that is handled here.
 */
#include "common/device/device.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/device/lock.h"

#define ALIGN_BYTES_MAX  4096u
#define REWRITE_BYTES    (64u << 10)
#define STAT_BLOCK_BYTES 512u /* the unit of st_blocks, whatever the file system uses */
#define CREATE_MODE      0600 /* a disk image holds everybody's files */

struct briq_file {
    struct briq_device dev;
    int apart_fd; /* the same file, opened a second time: see flush_apart; -1 when read-only */
    bool is_block;
    bool is_direct;
};

static struct briq_file *file_of(struct briq_device *dev)
{
    return BRIQ_CONTAINER_OF(dev, struct briq_file, dev);
}

/* The one place where -1 and errno become -errno. */
static int sys(long r)
{
    return r < 0 ? -errno : 0;
}

/* ---- reading and writing --------------------------------------------------------------------- */

/*
 * A transfer that ended early at `done` goes on where the device's alignment allows it: what lies
 * behind that point is transferred twice.
 */
static size_t resume_at(const struct briq_device *dev, size_t done)
{
    return (size_t)briq_align_down(done, dev->align_bytes);
}

/* Whether `pos` is the end of the file or behind it; needed for direct I/O only, where a read that
 * ends off the alignment cannot be asked to go on. */
static int at_end(struct briq_device *dev, uint64_t pos, bool *ret)
{
    if (file_of(dev)->is_block) {
        *ret = pos >= dev->size_bytes;
        return 0;
    }
    struct stat st;
    int r = sys(fstat(dev->fd, &st));
    if (r == 0)
        *ret = pos >= (uint64_t)st.st_size;
    return r;
}

/* What direct I/O says of a place that cannot be read has the block layer's many names (a bad sector
 * is ENODATA); through the page cache all of them are EIO. */
static int read_error(int error)
{
    switch (error) {
    case ENODATA:   /* the medium */
    case EILSEQ:    /* its protection information */
    case EREMOTEIO: /* the device */
    case ENOLINK:   /* the way to it */
    case ETIMEDOUT:
        return -EIO;
    default:
        return -error;
    }
}

static int file_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    char *dst = buf;
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(dev->fd, dst + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return read_error(errno);
        done += (size_t)n;
        bool end = n == 0;
        if (!end && done < len && resume_at(dev, done) != done) {
            int r = at_end(dev, off + done, &end);
            if (r < 0)
                return r;
        }
        if (end) {
            memset(dst + done, 0, len - done);
            return 0;
        }
        done = done < len ? resume_at(dev, done) : len;
    }
    return 0;
}

static int file_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    const char *src = buf;
    size_t done = 0;

    if (dev->read_only)
        return -EROFS;
    while (done < len) {
        ssize_t n = pwrite(dev->fd, src + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        size_t next = done + (size_t)n;
        if (next < len)
            next = resume_at(dev, next);
        if (next == done)
            return -EIO; /* accepted nothing and gave no reason: it would never end */
        done = next;
    }
    return 0;
}

static int sync_fd(int fd)
{
    int r;

    do
        r = sys(fdatasync(fd));
    while (r == -EINTR); /* no verdict yet; every other error is one, and is final */
    return r;
}

static int file_flush(struct briq_device *dev)
{
    return dev->read_only ? 0 : sync_fd(dev->fd);
}

static int file_flush_apart(struct briq_device *dev)
{
    return dev->read_only ? 0 : sync_fd(file_of(dev)->apart_fd);
}

/* ---- space ----------------------------------------------------------------------------------- */

static bool is_unsupported(int r)
{
    return r == -EOPNOTSUPP || r == -ENOSYS || r == -ENOTTY;
}

static int file_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    int r;

    if (dev->read_only || len == 0)
        return 0;
    if (file_of(dev)->is_block) {
        uint64_t range[2] = {off, len};
        r = sys(ioctl(dev->fd, BLKDISCARD, range));
    } else {
        r = sys(
            fallocate(dev->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len));
    }
    return is_unsupported(r) ? 0 : r;
}

/*
 * Reads [off, off+len) and writes the same back: a hole, or what lies behind the end of the file,
 * becomes allocated zeros, and data that the rounding to the alignment took in stays what it is.
 */
static int rewrite(struct briq_device *dev, uint64_t off, uint64_t len)
{
    void *buf;
    if (posix_memalign(&buf, ALIGN_BYTES_MAX, REWRITE_BYTES) != 0)
        return -ENOMEM;

    int r = 0;
    while (r == 0 && len > 0) {
        size_t part = (size_t)briq_min_u64(len, REWRITE_BYTES);
        r = file_read(dev, buf, part, off);
        if (r == 0)
            r = file_write(dev, buf, part, off);
        off += part;
        len -= part;
    }
    free(buf);
    return r;
}

/* The first hole or piece of data (whence) at or behind pos, at most `end`. The end of a file
 * counts as a hole; a file system that does not know its holes says the same of everything. */
static int seek_to(struct briq_device *dev, int whence, uint64_t pos, uint64_t end, uint64_t *ret)
{
    off_t found = lseek(dev->fd, (off_t)pos, whence);
    if (found < 0 && errno == ENXIO) /* behind the end, or nothing but a hole up to it */
        *ret = whence == SEEK_HOLE ? pos : end;
    else if (found < 0)
        return -errno;
    else
        *ret = briq_min_u64((uint64_t)found, end);
    return 0;
}

/*
 * reserve on a file system without fallocate (NFS before 4.2, some FUSE ones). The caller keeps
 * others from writing into the range meanwhile, as it does for a range that it is about to use.
 */
static int fill_holes(struct briq_device *dev, uint64_t off, uint64_t len)
{
    uint64_t align = briq_max_u64(dev->align_bytes, STAT_BLOCK_BYTES);
    uint64_t end = off + len, pos = off;

    while (pos < end) {
        uint64_t hole = 0, data = 0;
        int r = seek_to(dev, SEEK_HOLE, pos, end, &hole);
        if (r < 0 || hole == end)
            return r;
        r = seek_to(dev, SEEK_DATA, hole, end, &data);
        if (r < 0)
            return r;
        uint64_t from = briq_max_u64(briq_align_down(hole, align), off);
        uint64_t to = briq_min_u64(briq_align_up(data, align), end);
        r = rewrite(dev, from, to - from);
        if (r < 0)
            return r;
        pos = to;
    }
    return 0;
}

static int file_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    int r;

    if (dev->fixed_size || len == 0)
        return 0;
    if (dev->read_only)
        return -EROFS;
    do
        r = sys(fallocate(dev->fd, 0, (off_t)off, (off_t)len));
    while (r == -EINTR);
    if (is_unsupported(r))
        r = fill_holes(dev, off, len);
    return r == -EDQUOT ? -ENOSPC : r; /* there is none for this user */
}

static void file_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    /* Direct reads would not find in the page cache what this brings there. The result is of no
     * use: a range that cannot be read will say so when it is read. */
    if (!file_of(dev)->is_direct && len > 0)
        (void)posix_fadvise(dev->fd, (off_t)off, (off_t)len, POSIX_FADV_WILLNEED);
}

static int file_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    if (file_of(dev)->is_block) {
        *ret_bytes = dev->size_bytes;
        return 0;
    }
    struct stat st;
    int r = sys(fstat(dev->fd, &st));
    if (r == 0)
        *ret_bytes = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
    return r;
}

static void file_close(struct briq_device *dev)
{
    close(dev->fd); /* drops the lock; errors of writes were told by flush */
    if (file_of(dev)->apart_fd >= 0)
        close(file_of(dev)->apart_fd);
    free(file_of(dev));
}

static const struct briq_device_ops file_ops = {
    .read = file_read,
    .write = file_write,
    .flush = file_flush,
    .flush_apart = file_flush_apart,
    .discard = file_discard,
    .reserve = file_reserve,
    .prefetch = file_prefetch,
    .allocated = file_allocated,
    .close = file_close,
};

/* ---- opening --------------------------------------------------------------------------------- */

/* One attempt to open: what it was asked and what it has got so far. */
struct opening {
    const char *path;
    unsigned flags;
    struct briq_error *err;
    int fd, apart_fd;
    bool created; /* by this call, to be removed when it fails */
    struct stat st;
};

/* Explains the error r of what was being done, by its plain name. */
static int fail(const struct opening *o, int r, const char *doing)
{
    return briq_error_set(o->err, r, "%s: %s: %s", o->path, doing, strerrordesc_np(-r));
}

static int refuse_kind(const struct opening *o)
{
    const char *kind = "a special file";
    if (S_ISDIR(o->st.st_mode))
        kind = "a directory";
    else if (S_ISSOCK(o->st.st_mode))
        kind = "a socket";
    else if (S_ISFIFO(o->st.st_mode))
        kind = "a fifo";
    else if (S_ISCHR(o->st.st_mode))
        kind = "a character device";
    return briq_error_set(o->err, -EINVAL, "%s: is %s; a file or a block device is needed", o->path,
                          kind);
}

/* What is there, before open(2) can wait on a fifo or rewind a tape. */
static int look(struct opening *o, bool *ret_exists)
{
    *ret_exists = stat(o->path, &o->st) == 0;
    if (!*ret_exists && errno != ENOENT)
        return fail(o, -errno, "cannot open");
    if (*ret_exists && !S_ISREG(o->st.st_mode) && !S_ISBLK(o->st.st_mode))
        return refuse_kind(o);
    return 0;
}

static int explain_open(const struct opening *o, int r)
{
    bool create = o->flags & BRIQ_FILE_CREATE;
    switch (r) {
    case -EINVAL:
        if (o->flags & BRIQ_FILE_DIRECT)
            return briq_error_set(o->err, r,
                                  "%s: the file system does not support direct I/O (tmpfs?); leave "
                                  "out io=direct",
                                  o->path);
        return fail(o, r, "cannot open");
    case -ENOENT:
        return briq_error_set(
            o->err, r, create ? "%s: the directory for it does not exist" : "%s: does not exist",
            o->path);
    case -EEXIST:
        return briq_error_set(o->err, r,
                              "%s: exists already; replace it by force, or choose another "
                              "name",
                              o->path);
    case -EROFS:
        return briq_error_set(o->err, r, "%s: is on a read-only file system; open it read-only",
                              o->path);
    case -EBUSY:
        return briq_error_set(o->err, r,
                              "%s: the device is in use (mounted, swap, or part of another device)",
                              o->path);
    default:
        return fail(o, r, create ? "cannot create" : "cannot open");
    }
}

static int open_flags(const struct opening *o, bool exists)
{
    bool read_only = o->flags & BRIQ_FILE_READ_ONLY;
    int flags = O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR);
    if (o->flags & BRIQ_FILE_DIRECT)
        flags |= O_DIRECT;
    if (!exists)
        flags |= O_CREAT | O_EXCL;
    else if (S_ISBLK(o->st.st_mode) && !read_only && !(o->flags & BRIQ_FILE_UNLOCKED))
        flags |= O_EXCL; /* on a block device: not beside a mounted file system */
    return flags;
}

static int open_it(struct opening *o)
{
    bool exists;
    int r = look(o, &exists);
    if (r < 0)
        return r;
    bool create = o->flags & BRIQ_FILE_CREATE;
    if (!exists && !create)
        return explain_open(o, -ENOENT);
    if (exists && create && S_ISREG(o->st.st_mode) && !(o->flags & BRIQ_FILE_FORCE))
        return explain_open(o, -EEXIST);

    o->fd = open(o->path, open_flags(o, exists), CREATE_MODE);
    /* Where direct I/O is not supported, Linux creates the file all the same. */
    o->created = !exists && (o->fd >= 0 || errno == EINVAL);
    if (o->fd < 0)
        return explain_open(o, -errno);
    if (fstat(o->fd, &o->st) < 0)
        return fail(o, -errno, "cannot look at it");
    if (!S_ISREG(o->st.st_mode) && !S_ISBLK(o->st.st_mode))
        return refuse_kind(o); /* it was exchanged in between */
    return 0;
}

static int open_apart(struct opening *o)
{
    struct stat st;
    if (o->flags & BRIQ_FILE_READ_ONLY)
        return 0;
    o->apart_fd = open(o->path, O_RDONLY | O_CLOEXEC);
    if (o->apart_fd < 0 || fstat(o->apart_fd, &st) < 0)
        return fail(o, -errno, "cannot open it a second time");
    if (st.st_dev != o->st.st_dev || st.st_ino != o->st.st_ino)
        return fail(o, -EBUSY, "it was exchanged while it was opened");
    return 0;
}

/* Makes the name of a file that was just created survive a power cut. */
static int sync_directory(const struct opening *o)
{
    char *copy = strdup(o->path);
    if (copy == NULL)
        return fail(o, -ENOMEM, "cannot create");
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : sys(fsync(fd));
    if (fd >= 0)
        close(fd);
    free(copy);
    if (r < 0 && r != -EINVAL && r != -EACCES) /* not every file system can; not every user may */
        return fail(o, r, "cannot write its directory");
    return 0;
}

/* After the lock is held: a file that another process uses is not emptied. */
static int make_new(struct opening *o)
{
    if (o->created)
        return sync_directory(o);
    if (!(o->flags & BRIQ_FILE_CREATE) || !S_ISREG(o->st.st_mode))
        return 0;
    if (ftruncate(o->fd, 0) < 0)
        return fail(o, -errno, "cannot empty it");
    o->st.st_size = 0;
    return 0;
}

static int find_size(const struct opening *o, uint64_t *ret_bytes)
{
    if (S_ISREG(o->st.st_mode)) {
        *ret_bytes = (uint64_t)o->st.st_size;
        return 0;
    }
    if (ioctl(o->fd, BLKGETSIZE64, ret_bytes) < 0)
        return fail(o, -errno, "cannot find out the size of the device");
    return 0;
}

/* What the kernel says about direct I/O on this file; 0: nothing (before Linux 6.1). */
static int ask_alignment(const struct opening *o, uint32_t *ret_bytes)
{
#ifdef STATX_DIOALIGN
    struct statx stx;
    if (statx(o->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN)) {
        if (stx.stx_dio_offset_align == 0)
            return explain_open(o, -EINVAL);
        *ret_bytes = (uint32_t)briq_max_u64(stx.stx_dio_offset_align, stx.stx_dio_mem_align);
        return 0;
    }
#endif
    *ret_bytes = 0;
    return 0;
}

static int find_alignment(const struct opening *o, uint32_t *ret_bytes)
{
    uint32_t align = 1;
    if (o->flags & BRIQ_FILE_DIRECT) {
        int r = ask_alignment(o, &align);
        if (r < 0)
            return r;
        int sector;
        if (align == 0 && S_ISBLK(o->st.st_mode) && ioctl(o->fd, BLKSSZGET, &sector) == 0)
            align = (uint32_t)sector;
        if (align == 0)
            align = ALIGN_BYTES_MAX;
    }
    if (!briq_is_pow2(align) || align > ALIGN_BYTES_MAX)
        return briq_error_set(o->err, -EINVAL,
                              "%s: direct I/O there needs an alignment of %u bytes, at most %u is "
                              "supported; leave out io=direct",
                              o->path, align, ALIGN_BYTES_MAX);
    *ret_bytes = align;
    return 0;
}

static int make_device(const struct opening *o, struct briq_device **ret)
{
    uint64_t size = 0;
    uint32_t align = 0;
    int r = find_size(o, &size);
    if (r == 0)
        r = find_alignment(o, &align);
    if (r < 0)
        return r;

    struct briq_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return fail(o, -ENOMEM, "cannot open");
    file->is_block = S_ISBLK(o->st.st_mode);
    file->is_direct = o->flags & BRIQ_FILE_DIRECT;
    file->apart_fd = o->apart_fd;
    file->dev = (struct briq_device){
        .ops = &file_ops,
        .size_bytes = size,
        .align_bytes = align,
        .fd = o->fd,
        .fixed_size = file->is_block,
        .read_only = o->flags & BRIQ_FILE_READ_ONLY,
        /* a block device is the same one under each of its names */
        .host_dev = file->is_block ? o->st.st_rdev : o->st.st_dev,
        .host_ino = file->is_block ? 0 : o->st.st_ino,
    };
    *ret = &file->dev;
    return 0;
}

int briq_file_open(const char *path, unsigned flags, struct briq_error *err,
                   struct briq_device **ret)
{
    BRIQ_ASSERT(!(flags & BRIQ_FILE_CREATE) || !(flags & BRIQ_FILE_READ_ONLY));
    struct opening o = {.path = path, .flags = flags, .err = err, .fd = -1, .apart_fd = -1};

    int r = open_it(&o);
    if (r == 0 && !(flags & BRIQ_FILE_UNLOCKED))
        r = briq_lock_take(o.fd, flags & BRIQ_FILE_READ_ONLY, path, err);
    if (r == 0)
        r = make_new(&o);
    if (r == 0)
        r = open_apart(&o);
    if (r == 0)
        r = make_device(&o, ret);
    if (r < 0) {
        if (o.created)
            unlink(path);
        if (o.fd >= 0)
            close(o.fd);
        if (o.apart_fd >= 0)
            close(o.apart_fd);
    }
    return r;
}
