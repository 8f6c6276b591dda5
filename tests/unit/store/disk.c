#include "tests/unit/store/disk.h"

#include "bus/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES = 256, SECTOR = 512 };

struct written { /* not synced yet */
    char *path;
    off_t at;
    size_t n;
    char *old; /* zeros where the file ended */
    struct written *older;
};

enum act { MADE, RENAMED, REMOVED };

struct named { /* not synced yet */
    enum act act;
    char *path, *to; /* REMOVED: `to` is where it is kept */
    struct named *older;
};

struct disk {
    struct kb_io io; /* first: cast back */
    char *dir;
    struct kb_rand rand;
    uint64_t ops, cut_at, error_at;
    bool dead, full, broken;
    char *paths[FILES];
    struct written *writes;
    struct named *names;
    unsigned kept;
};

static struct disk *of(const struct kb_io *io)
{
    return (struct disk *)(uintptr_t)io;
}

/* Count an operation; the error with which it fails, or 0. */
static int step(struct disk *d, bool needs_room, bool may_fail)
{
    d->ops++;
    if (d->dead || (d->cut_at && d->ops >= d->cut_at)) {
        d->dead = true;
        return -EIO;
    }
    if (may_fail && (d->broken || (d->error_at && d->ops >= d->error_at))) {
        d->error_at = 0;
        return -EIO;
    }
    return needs_room && d->full ? -ENOSPC : 0;
}

static void note_name(struct disk *d, enum act act, const char *path, const char *to)
{
    struct named *n = calloc(1, sizeof(*n));
    *n = (struct named){
        .act = act, .path = strdup(path), .to = to ? strdup(to) : NULL, .older = d->names};
    d->names = n;
}

static int d_open(const struct kb_io *io, const char *path, bool create)
{
    struct disk *d = of(io);
    int rc = step(d, false, false);
    if (rc < 0)
        return rc;
    bool there = access(path, F_OK) == 0;
    if (!there && create && d->full)
        return -ENOSPC;
    int fd = kb_io_system()->open(io, path, create);
    if (fd < 0)
        return fd;
    KB_ASSERT(fd < FILES);
    free(d->paths[fd]);
    d->paths[fd] = strdup(path);
    if (!there)
        note_name(d, MADE, path, NULL);
    return fd;
}

static int d_close(const struct kb_io *io, int fd)
{
    (void)io;
    return kb_io_system()->close(io, fd);
}

static int d_read(const struct kb_io *io, int fd, void *data, size_t n, off_t at)
{
    return of(io)->dead ? -EIO : kb_io_system()->read(io, fd, data, n, at);
}

static void remember(struct disk *d, int fd, size_t n, off_t at)
{
    struct written *w = calloc(1, sizeof(*w));
    *w = (struct written){
        .path = strdup(d->paths[fd]), .at = at, .n = n, .old = calloc(1, n), .older = d->writes};
    KB_ASSERT(kb_io_system()->read(NULL, fd, w->old, n, at) >= 0);
    d->writes = w;
}

static int d_write(const struct kb_io *io, int fd, const void *data, size_t n, off_t at)
{
    struct disk *d = of(io);
    off_t size = 0;
    kb_io_system()->size(io, fd, &size);
    int rc = step(d, at + (off_t)n > size, true);
    if (rc == -ENOSPC && n > SECTOR) { /* a part of it is written */
        remember(d, fd, SECTOR, at);
        kb_io_system()->write(io, fd, data, SECTOR, at);
    }
    if (rc < 0 && !d->dead)
        return rc;
    if (rc < 0 && d->ops != d->cut_at)
        return rc;
    remember(d, fd, n, at); /* the write at which the power goes may have reached the disk */
    int done = kb_io_system()->write(io, fd, data, n, at);
    return rc < 0 ? rc : done;
}

static void free_write(struct written *w)
{
    free(w->path);
    free(w->old);
    free(w);
}

static int d_sync(const struct kb_io *io, int fd)
{
    struct disk *d = of(io);
    int rc = step(d, false, true);
    if (rc < 0)
        return rc;
    for (struct written **at = &d->writes; *at;) {
        struct written *w = *at;
        if (strcmp(w->path, d->paths[fd]) == 0) { /* of the file, through whichever descriptor */
            *at = w->older;
            free_write(w);
        } else {
            at = &w->older;
        }
    }
    return 0;
}

static int d_reserve(const struct kb_io *io, int fd, off_t bytes)
{
    struct disk *d = of(io);
    off_t size = 0;
    kb_io_system()->size(io, fd, &size);
    int rc = step(d, bytes > size, false);
    return rc < 0 ? rc : kb_io_system()->reserve(io, fd, bytes);
}

static int d_size(const struct kb_io *io, int fd, off_t *ret)
{
    return kb_io_system()->size(io, fd, ret);
}

static int d_rename(const struct kb_io *io, const char *from, const char *to)
{
    struct disk *d = of(io);
    int rc = step(d, false, false);
    if (rc == 0)
        rc = kb_io_system()->rename(io, from, to);
    if (rc == 0)
        note_name(d, RENAMED, from, to);
    for (struct written *w = d->writes; w && rc == 0; w = w->older)
        if (strcmp(w->path, from) == 0) {
            free(w->path);
            w->path = strdup(to);
        }
    for (int fd = 0; fd < FILES && rc == 0; fd++)
        if (d->paths[fd] && strcmp(d->paths[fd], from) == 0) {
            free(d->paths[fd]);
            d->paths[fd] = strdup(to);
        }
    return rc;
}

static int d_remove(const struct kb_io *io, const char *path)
{
    struct disk *d = of(io);
    int rc = step(d, false, false);
    if (rc < 0 || access(path, F_OK) != 0)
        return rc < 0 ? rc : -ENOENT;
    KB_AUTO(kb_auto_free) char *keep = kb_strf("%s/removed-%u", d->dir, d->kept++);
    rc = kb_io_system()->rename(io, path, keep);
    if (rc == 0)
        note_name(d, REMOVED, path, keep);
    return rc;
}

static void free_name(struct named *n)
{
    if (n->act == REMOVED)
        unlink(n->to);
    free(n->path);
    free(n->to);
    free(n);
}

static int d_sync_dir(const struct kb_io *io, const char *path)
{
    struct disk *d = of(io);
    (void)path;
    int rc = step(d, false, true);
    if (rc < 0)
        return rc;
    while (d->names) {
        struct named *n = d->names;
        d->names = n->older;
        free_name(n);
    }
    return 0;
}

static int d_database(const struct kb_io *io, const char *what)
{
    return step(of(io), true, strcmp(what, "commit") == 0);
}

struct disk *disk_new(uint64_t seed, const char *dir)
{
    struct disk *d = calloc(1, sizeof(*d));
    d->io = (struct kb_io){d_open, d_close,  d_read,   d_write,    d_sync,    d_reserve,
                           d_size, d_rename, d_remove, d_sync_dir, d_database};
    d->dir = strdup(dir);
    kb_rand_init(&d->rand, seed);
    return d;
}

static void forget(struct disk *d)
{
    while (d->writes) {
        struct written *w = d->writes;
        d->writes = w->older;
        free_write(w);
    }
    while (d->names) {
        struct named *n = d->names;
        d->names = n->older;
        free_name(n);
    }
}

void disk_destroy(struct disk **disk_p)
{
    struct disk *d = KB_STEAL(*disk_p);
    if (d == NULL)
        return;
    forget(d);
    for (int i = 0; i < FILES; i++)
        free(d->paths[i]);
    free(d->dir);
    free(d);
}

const struct kb_io *disk_io(struct disk *d)
{
    return &d->io;
}

void disk_cut_after(struct disk *d, uint64_t n)
{
    d->cut_at = n ? d->ops + n : 0;
}

bool disk_is_dead(const struct disk *d)
{
    return d->dead;
}

void disk_full(struct disk *d, bool full)
{
    d->full = full;
}

void disk_error_after(struct disk *d, uint64_t n)
{
    d->error_at = n ? d->ops + n : 0;
}

void disk_broken(struct disk *d, bool broken)
{
    d->broken = broken;
}

uint64_t disk_ops(const struct disk *d)
{
    return d->ops;
}

/* Some sectors of an unsynced write get their old contents back. */
static void lose(struct disk *d, const struct written *w)
{
    int fd = open(w->path, O_RDWR);
    uint64_t mode = kb_rand_below(&d->rand, 4); /* all kept, all lost, or by the sector */
    if (fd < 0 || mode == 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (size_t at = 0; at < w->n; at += SECTOR) {
        size_t n = w->n - at < SECTOR ? w->n - at : SECTOR;
        if (mode == 1 || kb_rand_below(&d->rand, 2))
            KB_ASSERT(pwrite(fd, w->old + at, n, w->at + (off_t)at) == (ssize_t)n);
    }
    close(fd);
}

void disk_power_cycle(struct disk *d)
{
    for (struct written *w = d->writes; w; w = w->older)
        lose(d, w);
    while (d->names && kb_rand_below(&d->rand, 2)) {
        struct named *n = d->names;
        d->names = n->older;
        if (n->act == MADE)
            unlink(n->path);
        else if (n->act == RENAMED)
            rename(n->to, n->path);
        else
            rename(n->to, n->path);
        free_name(n);
    }
    forget(d);
    d->dead = false;
    d->cut_at = d->error_at = 0;
    d->full = d->broken = false;
}
