/* log.c - the write-ahead log.
 *
 * WHY pages: a batch that shared a page with the one before it would make the kernel write
 * acknowledged bytes again, and a disk that loses power in the middle of a page may garble all of
 * it. A batch of one small change so costs 4 KiB of log, which is what the disk writes for it
 * anyway.
 *
 * WHY one sync in flight: two would be faster on some disks, but then a hole before a whole batch
 * could be either a power cut (to be forgiven) or damage (to be refused). With one, the difference
 * is certain.
 *
 * WHY voiding: after a failed write or sync nobody knows what is on the disk. The first page of the
 * batch is overwritten with zeros and synced: if that works the batch is certainly not there, and
 * "refused" is the truth. If it fails too, the log says that it does not know, and stops.
 *
 * A segment that is used again still has its old batches behind the new ones. They carry the old
 * segment's number and an old salt, so they are not taken for anything. */
#include "store/log.h"

#include "bus/base/check.h"
#include "bus/base/rand.h"
#include "store/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PAGE = KB_LOG_PAGE_BYTES,
    READY_MAX = 8, /* segments kept ahead: what a burst may use up between two checkpoints */
    LIVE_MAX = 65536,
    ZEROS = 256 * 1024
};

#define SEGMENT_MAGIC UINT64_C(0x0147455342554b00) /* "\0KUBSEG\1" */
#define BATCH_MAGIC   0x314c424bu                  /* "KBL1" */

struct segment_header { /* the first page of a segment; host order: a log does not travel */
    uint64_t magic, number;
    uint8_t id[KB_LOG_ID_BYTES];
    uint32_t salt;
    uint32_t crc; /* of what stands before it */
};

struct batch_header {
    uint32_t magic, crc; /* crc: from the salt, over the rest of the header and the bytes */
    uint64_t segment, batch;
    uint64_t bytes;
    uint64_t spare[2];
};
_Static_assert(sizeof(struct batch_header) == KB_LOG_HEADER_BYTES, "the header has its size");

struct segment {
    uint64_t number;
    uint64_t bytes;
    int fd;
    uint32_t salt;
};

struct kb_log {
    struct kb_log_config config;
    char *dir;
    bool failed;
    bool unsettled;       /* the folders of a new log are not synced yet */
    struct segment now;   /* the one that is written */
    struct segment spare; /* the one after it, taken for a batch that was too large for the disk */
    struct kb_log_pos end;
    struct kb_rand rand;
    pthread_mutex_t lock;            /* for what follows */
    struct segment ready[READY_MAX]; /* now.number + 1, … */
    size_t ready_n;
    pthread_cond_t made;
    bool making;                     /* somebody makes segment now_number + 1 + ready_n */
    uint64_t first;                  /* the oldest segment on disk */
    uint64_t now_number, now_offset; /* of `now` (or `spare`) and `end` */
};

static char *segment_path(const struct kb_log *log, uint64_t number)
{
    return kb_strf("%s/%016llx.log", log->dir, (unsigned long long)number);
}

static uint64_t pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* ---- segments ---- */

static void segment_close(const struct kb_log *log, struct segment *seg)
{
    if (seg->fd >= 0)
        log->config.io->close(log->config.io, seg->fd);
    seg->fd = -1;
}

static int segment_write_header(struct kb_log *log, struct segment *seg)
{
    uint8_t page[PAGE] = {0};
    struct segment_header h = {.magic = SEGMENT_MAGIC, .number = seg->number, .salt = seg->salt};
    const struct kb_io *io = log->config.io;
    memcpy(h.id, log->config.id, sizeof(h.id));
    h.crc = kb_crc32c(0, &h, offsetof(struct segment_header, crc));
    memcpy(page, &h, sizeof(h));
    int rc = io->write(io, seg->fd, page, PAGE, 0);
    if (rc == 0) /* whatever stood at the first batch's place is no batch of this segment: salted */
        rc = io->sync(io, seg->fd);
    return rc;
}

/* Write the whole file once, so that later syncs have no block to convert from "reserved" to
 * "written". */
static int segment_fill(struct kb_log *log, struct segment *seg, uint64_t bytes)
{
    const struct kb_io *io = log->config.io;
    KB_AUTO(kb_auto_free) char *zeros = calloc(1, ZEROS);
    int rc = 0;
    KB_ASSERT(zeros != NULL);
    for (uint64_t at = 0; at < bytes && rc == 0; at += ZEROS)
        rc = io->write(io, seg->fd, zeros, bytes - at < ZEROS ? bytes - at : ZEROS, (off_t)at);
    return rc;
}

/* A new segment file of at least `bytes`, durable with its name; the name of a new log's first one
 * is made durable later, by kb_log_settle. On failure nothing is left. Returns a system error. */
static int segment_make(struct kb_log *log, uint64_t number, uint64_t bytes, bool fill, bool named,
                        struct segment *ret_seg)
{
    const struct kb_io *io = log->config.io;
    KB_AUTO(kb_auto_free) char *path = segment_path(log, number);
    struct segment seg = {.number = number, .bytes = bytes};
    pthread_mutex_lock(&log->lock);
    seg.salt = (uint32_t)kb_rand_next(&log->rand);
    pthread_mutex_unlock(&log->lock);
    seg.fd = io->open(io, path, true);
    if (seg.fd < 0)
        return seg.fd;
    int rc = io->reserve(io, seg.fd, (off_t)bytes);
    if (rc == 0 && fill)
        rc = segment_fill(log, &seg, bytes);
    if (rc == 0)
        rc = segment_write_header(log, &seg);
    if (rc == 0 && named)
        rc = io->sync_dir(io, log->dir);
    if (rc != 0) {
        segment_close(log, &seg);
        io->remove(io, path);
        return rc;
    }
    *ret_seg = seg;
    return 0;
}

/* -KB_ENOTFOUND: its header is not whole. */
static int segment_open(struct kb_log *log, uint64_t number, struct segment *ret_seg,
                        struct kb_err *err)
{
    const struct kb_io *io = log->config.io;
    KB_AUTO(kb_auto_free) char *path = segment_path(log, number);
    struct segment seg = {.number = number};
    struct segment_header h;
    off_t bytes = 0;
    seg.fd = io->open(io, path, false);
    if (seg.fd < 0)
        return kb_err_sys(err, -seg.fd, "log: open %s", path);
    int rc = io->size(io, seg.fd, &bytes);
    if (rc == 0)
        rc = io->read(io, seg.fd, &h, sizeof(h), 0);
    if (rc < 0) {
        segment_close(log, &seg);
        return kb_err_sys(err, -rc, "log: read %s", path);
    }
    seg.bytes = (uint64_t)bytes;
    if (rc < (int)sizeof(h) || h.magic != SEGMENT_MAGIC || h.number != number ||
        h.crc != kb_crc32c(0, &h, offsetof(struct segment_header, crc))) {
        segment_close(log, &seg);
        return -KB_ENOTFOUND;
    }
    if (memcmp(h.id, log->config.id, sizeof(h.id)) != 0) {
        segment_close(log, &seg);
        return kb_err_set(err, KB_EIO, "log: %s belongs to another database", path);
    }
    seg.salt = h.salt;
    *ret_seg = seg;
    return 0;
}

/* ---- reading ---- */

/* The batch at `at`, when it is whole and its number is at least `from`. 1: yes, 0: no, or a system
 * error. */
static int batch_read(struct kb_log *log, const struct segment *seg, uint64_t at, uint64_t from,
                      struct batch_header *ret_header, struct kb_buf *body)
{
    const struct kb_io *io = log->config.io;
    struct batch_header h;
    int rc = io->read(io, seg->fd, &h, sizeof(h), (off_t)at);
    if (rc < 0)
        return rc;
    if (rc < (int)sizeof(h) || h.magic != BATCH_MAGIC || h.segment != seg->number ||
        h.batch < from || h.bytes > seg->bytes || at + sizeof(h) + h.bytes > seg->bytes)
        return 0;
    kb_buf_clear(body);
    char *to = kb_buf_reserve(body, h.bytes);
    rc = io->read(io, seg->fd, to, h.bytes, (off_t)(at + sizeof(h)));
    if (rc < 0)
        return rc;
    size_t skip = offsetof(struct batch_header, segment);
    uint32_t crc = kb_crc32c(seg->salt, (char *)&h + skip, sizeof(h) - skip);
    if ((uint64_t)rc < h.bytes || kb_crc32c(crc, to, h.bytes) != h.crc)
        return 0;
    body->n = h.bytes;
    *ret_header = h;
    return 1;
}

/* Is there a whole batch, number `from` or later, at a page of the segment from `at` on? */
static int batch_search(struct kb_log *log, const struct segment *seg, uint64_t at, uint64_t from,
                        struct batch_header *ret_header)
{
    KB_AUTO(kb_buf_finish) struct kb_buf body = {0};
    for (; at + PAGE <= seg->bytes; at += PAGE) {
        int rc = batch_read(log, seg, at, from, ret_header, &body);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct reader {
    kb_log_replay_fn *replay;
    void *user;
    struct kb_buf body;
};

/* Replay what is whole in `log->now` from `log->end` on. */
static int replay_segment(struct kb_log *log, struct reader *r, struct kb_err *err)
{
    for (;;) {
        struct batch_header h;
        int rc = batch_read(log, &log->now, log->end.offset, log->end.batch, &h, &r->body);
        if (rc < 0)
            return kb_err_sys(err, -rc, "log: read segment %llu",
                              (unsigned long long)log->now.number);
        if (rc == 0 || h.batch != log->end.batch)
            return 0;
        struct kb_log_pos next = {log->end.segment, log->end.offset + pages(sizeof(h) + h.bytes),
                                  h.batch + 1};
        rc = r->replay(r->user, &next, r->body.p, r->body.n, err);
        if (rc < 0)
            return rc;
        log->end = next;
    }
}

static int damaged(const struct kb_log *log, const struct batch_header *behind, struct kb_err *err)
{
    return kb_err_set(
        err, KB_EIO,
        "log: batch %llu in %s (segment %llu, offset %llu) is damaged, but batch %llu "
        "behind it is whole: acknowledged changes are lost. Restore a backup",
        (unsigned long long)log->end.batch, log->dir, (unsigned long long)log->end.segment,
        (unsigned long long)log->end.offset, (unsigned long long)behind->batch);
}

/* The numbers of the segments on disk, sorted. Returns how many, or a KB_E*. */
static int numbers_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int list_segments(const struct kb_log *log, uint64_t **ret_numbers, struct kb_err *err)
{
    DIR *dir = opendir(log->dir);
    KB_AUTO(kb_auto_free) uint64_t *numbers = NULL;
    size_t n = 0;
    if (dir == NULL)
        return kb_err_sys(err, errno, "log: list %s", log->dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && n < LIVE_MAX;) {
        char *end = NULL;
        uint64_t number = strtoull(entry->d_name, &end, 16);
        if (end != entry->d_name + 16 || strcmp(end, ".log") != 0)
            continue;
        numbers = realloc(numbers, (n + 1) * sizeof(*numbers));
        KB_ASSERT(numbers != NULL);
        numbers[n++] = number;
    }
    closedir(dir);
    if (n)
        qsort(numbers, n, sizeof(*numbers), numbers_compare);
    *ret_numbers = KB_STEAL(numbers);
    return (int)n;
}

/* ---- opening ---- */

/* Overwrite the first page of the batch at the end, durably: whatever it was, it is none now. */
static int void_tail(struct kb_log *log)
{
    static const uint8_t zeros[PAGE];
    const struct kb_io *io = log->config.io;
    int rc = io->write(io, log->now.fd, zeros, PAGE, (off_t)log->end.offset);
    return rc < 0 ? rc : io->sync(io, log->now.fd);
}

/* Cut off what stands at the end and is not whole. */
static int cut_tail(struct kb_log *log, struct kb_err *err)
{
    const struct kb_io *io = log->config.io;
    struct batch_header h = {0};
    if (log->end.offset + PAGE > log->now.bytes)
        return 0;
    int rc = io->read(io, log->now.fd, &h, sizeof(h), (off_t)log->end.offset);
    if (rc >= 0 && (h.magic != BATCH_MAGIC || h.segment != log->now.number))
        return 0;
    if (rc >= 0)
        rc = void_tail(log);
    return rc < 0 ? kb_err_sys(err, -rc, "log: cut the torn tail off") : 0;
}

/* Walk on from segment to segment as long as the numbers of the batches go on. `numbers` starts at
 * the one that is open. */
static int replay_all(struct kb_log *log, const uint64_t *numbers, size_t n, struct reader *r,
                      struct kb_err *err)
{
    for (size_t i = 1;; i++) {
        struct segment next;
        struct batch_header h;
        int rc = replay_segment(log, r, err);
        if (rc < 0 || i >= n || numbers[i] != log->now.number + 1)
            return rc;
        rc = segment_open(log, numbers[i], &next, err);
        if (rc == -KB_ENOTFOUND)
            return 0;
        if (rc < 0)
            return rc;
        rc = batch_read(log, &next, PAGE, log->end.batch, &h, &r->body);
        if (rc <= 0 || h.batch != log->end.batch) {
            segment_close(log, &next);
            return rc < 0 ? kb_err_sys(err, -rc, "log: read") : 0;
        }
        segment_close(log, &log->now);
        log->now = next;
        log->end.segment = next.number;
        log->end.offset = PAGE;
    }
}

/* Nothing whole may stand behind the end; segments behind it are ready ones, or leftovers of making
 * one. */
static int look_behind(struct kb_log *log, const uint64_t *numbers, size_t n, struct kb_err *err)
{
    struct batch_header h;
    const struct kb_io *io = log->config.io;
    int rc = batch_search(log, &log->now, log->end.offset, log->end.batch, &h);
    if (rc != 0)
        return rc > 0 ? damaged(log, &h, err) : kb_err_sys(err, -rc, "log: read");
    for (size_t i = 0; i < n; i++) {
        struct segment seg;
        if (numbers[i] <= log->now.number)
            continue;
        rc = segment_open(log, numbers[i], &seg, err);
        if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
        if (rc == 0) {
            rc = batch_search(log, &seg, PAGE, log->end.batch, &h);
            if (rc != 0) {
                segment_close(log, &seg);
                return rc > 0 ? damaged(log, &h, err) : kb_err_sys(err, -rc, "log: read");
            }
            if (log->ready_n < READY_MAX && seg.number == log->now.number + 1 + log->ready_n) {
                log->ready[log->ready_n++] = seg;
                continue;
            }
            segment_close(log, &seg);
        }
        KB_AUTO(kb_auto_free) char *path = segment_path(log, numbers[i]);
        io->remove(io, path);
    }
    return 0;
}

/* Open the segment of `log->end`, which must be there unless no log was ever written. */
static int open_first(struct kb_log *log, const uint64_t *numbers, size_t n, struct kb_err *err)
{
    if (n == 0 && log->end.offset == PAGE) {
        log->unsettled = true;
        int rc = segment_make(log, log->end.segment, pages(log->config.segment_bytes), false, false,
                              &log->now);
        return rc < 0 ? kb_err_sys(err, -rc, "log: make a segment in %s", log->dir) : 0;
    }
    int rc = n > 0 && numbers[0] == log->end.segment
                 ? segment_open(log, log->end.segment, &log->now, err)
                 : -KB_ENOTFOUND;
    if (rc == -KB_ENOTFOUND && log->end.offset == PAGE && n == 1 &&
        numbers[0] == log->end.segment) {
        log->unsettled = true;
        rc = segment_make(log, log->end.segment, pages(log->config.segment_bytes), false, false,
                          &log->now);
        return rc < 0 ? kb_err_sys(err, -rc, "log: make a segment in %s", log->dir) : 0;
    }
    if (rc == -KB_ENOTFOUND)
        return kb_err_set(
            err, KB_EIO, "log: segment %llu, which the database needs, is missing or damaged in %s",
            (unsigned long long)log->end.segment, log->dir);
    return rc;
}

static int log_load(struct kb_log *log, kb_log_replay_fn *replay, void *user, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) uint64_t *numbers = NULL;
    const struct kb_io *io = log->config.io;
    struct reader reader = {.replay = replay, .user = user};
    size_t skip = 0;
    int n = list_segments(log, &numbers, err);
    if (n < 0)
        return n;
    for (; skip < (size_t)n && numbers[skip] < log->end.segment; skip++) {
        KB_AUTO(kb_auto_free) char *path = segment_path(log, numbers[skip]);
        io->remove(io, path);
    }
    size_t left = (size_t)n - skip;
    const uint64_t *from = numbers ? numbers + skip : NULL;
    int rc = open_first(log, from, left, err);
    if (rc == 0)
        rc = replay_all(log, from, left, &reader, err);
    kb_buf_finish(&reader.body);
    if (rc == 0)
        rc = look_behind(log, from, left, err);
    if (rc == 0)
        rc = cut_tail(log, err);
    log->first = left ? from[0] : log->now.number;
    log->now_number = log->now.number;
    log->now_offset = log->end.offset;
    return rc;
}

int kb_log_open(const struct kb_log_config *config, const struct kb_log_pos *from,
                kb_log_replay_fn *replay, void *user, struct kb_log **ret_log, struct kb_err *err)
{
    KB_AUTO(kb_log_close) struct kb_log *log = calloc(1, sizeof(*log));
    KB_ASSERT(log != NULL);
    log->config = *config;
    log->dir = kb_str_dup(kb_str_of(config->dir));
    log->now.fd = log->spare.fd = -1;
    log->end = from && from->segment ? *from : (struct kb_log_pos){1, PAGE, 1};
    kb_rand_init(&log->rand, config->seed);
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->made, NULL);
    int rc = log_load(log, replay, user, err);
    if (rc == 0)
        *ret_log = KB_STEAL(log);
    return rc;
}

void kb_log_close(struct kb_log **log_p)
{
    struct kb_log *log = KB_STEAL(*log_p);
    if (log == NULL)
        return;
    segment_close(log, &log->now);
    segment_close(log, &log->spare);
    for (size_t i = 0; i < log->ready_n; i++)
        segment_close(log, &log->ready[i]);
    pthread_cond_destroy(&log->made);
    pthread_mutex_destroy(&log->lock);
    free(log->dir);
    free(log);
}

bool kb_log_failed(const struct kb_log *log)
{
    return log->failed;
}

struct kb_log_pos kb_log_end(const struct kb_log *log)
{
    return log->end;
}

/* ---- appending ---- */

/* Take the segment that was made ahead; with none, and nobody making one, the caller shall
 * (`making` is set for it). */
static bool take_ready(struct kb_log *log, struct segment *ret_seg)
{
    pthread_mutex_lock(&log->lock);
    while (log->ready_n == 0 && log->making)
        pthread_cond_wait(&log->made, &log->lock);
    bool found = log->ready_n > 0;
    if (found) {
        *ret_seg = log->ready[0];
        memmove(log->ready, log->ready + 1, --log->ready_n * sizeof(*log->ready));
        log->now_number = ret_seg->number; /* so that the housekeeper counts on from it */
    } else {
        log->making = true;
    }
    pthread_mutex_unlock(&log->lock);
    return found;
}

static void made(struct kb_log *log, bool good)
{
    pthread_mutex_lock(&log->lock);
    log->making = false;
    if (good)
        log->now_number++;
    pthread_cond_broadcast(&log->made);
    pthread_mutex_unlock(&log->lock);
}

/* Go to the next segment, made ahead or made now, with room for `need` bytes. A system error. */
static int next_segment(struct kb_log *log, uint64_t need)
{
    const struct kb_io *io = log->config.io;
    uint64_t bytes = pages(log->config.segment_bytes);
    struct segment next = {.fd = -1};
    if (bytes < PAGE + need)
        bytes = PAGE + need;
    if (log->spare.fd >= 0) {
        next = log->spare;
        log->spare.fd = -1;
    } else if (!take_ready(log, &next)) {
        int rc = segment_make(log, log->now.number + 1, bytes, false, true, &next);
        made(log, rc == 0);
        if (rc < 0)
            return rc;
    }
    if (next.bytes < bytes) {
        int rc = io->reserve(io, next.fd, (off_t)bytes);
        if (rc < 0) {
            log->spare = next; /* good for a smaller batch */
            return rc;
        }
        next.bytes = bytes;
    }
    segment_close(log, &log->now);
    log->now = next;
    log->end.segment = next.number;
    log->end.offset = PAGE;
    return 0;
}

/* A new database: its files' names, and those of the folders that hold them. A slow sync on a busy
 * disk, and nothing depends on it before the first batch. */
int kb_log_settle(struct kb_log *log, struct kb_err *err)
{
    static const char *const above[] = {"", "/..", "/../.."};
    const struct kb_io *io = log->config.io;
    for (size_t i = 0; log->unsettled && i < KB_COUNT(above); i++) {
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s%s", log->dir, above[i]);
        int rc = io->sync_dir(io, path);
        if (rc < 0)
            return kb_err_sys(err, -rc, "log: sync %s", path);
    }
    log->unsettled = false;
    return 0;
}

int kb_log_append(struct kb_log *log, void *bytes, size_t n, struct kb_err *err)
{
    const struct kb_io *io = log->config.io;
    struct batch_header *h = bytes;
    uint64_t need = pages(n);
    KB_ASSERT(n >= sizeof(*h));
    if (log->failed)
        return kb_err_set(err, KB_EIO, "log: it failed before, and takes no more");
    if (kb_log_settle(log, err) < 0)
        return -err->code;
    if (log->end.offset + need > log->now.bytes) {
        int rc = next_segment(log, need);
        if (rc < 0)
            return kb_err_sys(err, -rc, "log: a new segment in %s", log->dir);
    }
    *h = (struct batch_header){.magic = BATCH_MAGIC,
                               .segment = log->now.number,
                               .batch = log->end.batch,
                               .bytes = n - sizeof(*h)};
    size_t skip = offsetof(struct batch_header, segment);
    h->crc = kb_crc32c(log->now.salt, (char *)bytes + skip, n - skip);
    int rc = io->write(io, log->now.fd, bytes, n, (off_t)log->end.offset);
    if (rc == 0)
        rc = io->sync(io, log->now.fd);
    if (rc < 0) {
        kb_err_sys(err, -rc, "log: write segment %llu", (unsigned long long)log->now.number);
        if (void_tail(log) == 0)
            return -err->code;
        log->failed = true;
        return kb_err_set(err, KB_EIO,
                          "log: writing failed, and so did undoing it: whether the "
                          "change is kept is unknown");
    }
    log->end.offset += need;
    log->end.batch++;
    pthread_mutex_lock(&log->lock);
    log->now_offset = log->end.offset;
    pthread_mutex_unlock(&log->lock);
    return 0;
}

/* ---- housekeeping ---- */

/* Give the oldest segment a new number and a new salt, ready to be written again. */
static int recycle(struct kb_log *log, uint64_t number, uint64_t as, struct segment *ret_seg)
{
    const struct kb_io *io = log->config.io;
    KB_AUTO(kb_auto_free) char *from = segment_path(log, number);
    KB_AUTO(kb_auto_free) char *to = segment_path(log, as);
    struct segment seg = {.number = as};
    off_t bytes = 0;
    seg.fd = io->open(io, from, false);
    if (seg.fd < 0)
        return seg.fd;
    int rc = io->size(io, seg.fd, &bytes);
    seg.bytes = (uint64_t)bytes;
    if (rc == 0 && seg.bytes != pages(log->config.segment_bytes))
        rc = -EFBIG; /* made for one large batch: not worth keeping */
    pthread_mutex_lock(&log->lock);
    seg.salt = (uint32_t)kb_rand_next(&log->rand);
    pthread_mutex_unlock(&log->lock);
    if (rc == 0)
        rc = segment_write_header(log, &seg);
    if (rc == 0)
        rc = io->rename(io, from, to);
    if (rc == 0)
        rc = io->sync_dir(io, log->dir);
    if (rc < 0) {
        segment_close(log, &seg);
        return rc;
    }
    *ret_seg = seg;
    return 0;
}

/* The next thing to do: take segment *ret_old (0: a new file) and make it number *ret_number;
 * false: nothing. Whoever makes a segment has `making` set, so that the writer and the housekeeper
 * never make the same one. */
static bool housekeep_pick(struct kb_log *log, uint64_t applied, uint64_t *ret_old,
                           uint64_t *ret_number)
{
    bool found = true;
    pthread_mutex_lock(&log->lock);
    *ret_number = 0;
    *ret_old = 0;
    if (log->making)
        found = false;
    else if (log->first < applied && log->first < log->now_number)
        *ret_old = log->first++;
    else if (log->ready_n > 0 || log->now_offset * 2 < log->config.segment_bytes)
        found = false;
    if (found && log->ready_n < READY_MAX) {
        *ret_number = log->now_number + 1 + log->ready_n;
        log->making = true;
    }
    pthread_mutex_unlock(&log->lock);
    return found;
}

int kb_log_housekeep(struct kb_log *log, uint64_t applied_segment, struct kb_err *err)
{
    uint64_t old, number;
    int rc = 0;
    while (rc == 0 && housekeep_pick(log, applied_segment, &old, &number)) {
        struct segment seg = {.fd = -1};
        int made =
            number == 0 ? -EFBIG
            : old       ? recycle(log, old, number, &seg)
                  : segment_make(log, number, pages(log->config.segment_bytes), true, true, &seg);
        if (made < 0 && old) { /* what cannot be used again is removed */
            KB_AUTO(kb_auto_free) char *path = segment_path(log, old);
            log->config.io->remove(log->config.io, path);
        } else if (made < 0) {
            rc = kb_err_sys(err, -made, "log: make a segment ahead");
        }
        if (number == 0)
            continue;
        pthread_mutex_lock(&log->lock);
        log->making = false;
        if (made == 0)
            log->ready[log->ready_n++] = seg;
        pthread_cond_broadcast(&log->made);
        pthread_mutex_unlock(&log->lock);
    }
    return rc;
}

bool kb_log_wants(struct kb_log *log)
{
    pthread_mutex_lock(&log->lock);
    bool wants =
        !log->making && log->ready_n == 0 && log->now_offset * 2 >= log->config.segment_bytes;
    pthread_mutex_unlock(&log->lock);
    return wants;
}

uint64_t kb_log_bytes(struct kb_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t n = log->now_number + log->ready_n - log->first + 1;
    pthread_mutex_unlock(&log->lock);
    return n * pages(log->config.segment_bytes);
}
