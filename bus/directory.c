/* directory.c - who serves what, where: asked of kubusd once per connection, never on the data
 * path.
 *
 * Without a supervisor (`standalone`: tests and tools) a service is where the protocol's convention
 * puts it; kubusd itself always is. */
#include "bus/impl.h"

#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RESOLVE_WAIT_MS = 10000, RESOLVE_GRACE_MS = 1000, RUN_DIR_MAX_BYTES = 80 };

char *kb_run_dir(const char *data_dir)
{
    char cwd[4096] = "";
    if (data_dir[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
        cwd[0] = '\0';
    KB_AUTO(kb_auto_free)
    char *absolute = cwd[0] ? kb_strf("%s/%s", cwd, data_dir) : kb_strf("%s", data_dir);
    char *run = kb_strf("%s/run", absolute);
    if (strlen(run) <= RUN_DIR_MAX_BYTES)
        return run;
    free(run);
    return kb_strf("/tmp/kubus-%016llx", (unsigned long long)kb_hash64(absolute, strlen(absolute)));
}

int kb_run_dir_make(const char *run_dir, struct kb_err *err)
{
    struct stat st;
    int rc = kb_dir_make(run_dir, 0700, err);
    if (rc < 0)
        return rc;
    if (lstat(run_dir, &st) < 0)
        return kb_err_sys(err, errno, "'%s'", run_dir);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return kb_err_set(err, KB_EFORBIDDEN, "'%s' is not a folder of ours alone", run_dir);
    return 0;
}

char *kb__endpoint(const struct kb_actor *actor, const char *service, const char *suffix)
{
    char *endpoint = kb_strf("ipc://%s/%s.%s", actor->run_dir, service, suffix);
    for (char *p = endpoint + strlen("ipc://") + strlen(actor->run_dir) + 1; *p; p++)
        if (*p == '/')
            *p = '~';
    return endpoint;
}

static char *lock_path(const char *run_dir, const char *name)
{
    char *path = kb_strf("%s/%s.lock", run_dir, name);
    for (char *p = path + strlen(run_dir) + 1; *p; p++)
        if (*p == '/')
            *p = '~';
    return path;
}

int kb_run_lock_holder(const char *run_dir, const char *name)
{
    KB_AUTO(kb_auto_free) char *path = lock_path(run_dir, name);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

int kb_run_lock(const char *run_dir, const char *name, int *ret_fd, int *ret_holder,
                struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = lock_path(run_dir, name);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0)
        return kb_err_sys(err, errno, "open '%s'", path);
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        int holder = fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_pid : 0;
        if (ret_holder)
            *ret_holder = holder;
        return kb_err_set(err, KB_EEXISTS, "'%s' runs already, as process %d", name, holder);
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static void on_resolved(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_peer *peer = user;
    struct kb_err local = {0};
    peer->resolve_call = 0;
    KB_AUTO(kb_auto_free) char *call = kb_str_dup(kb_val_str_at(body, "call"));
    kb_str events = kb_val_str_at(body, "events");
    KB_AUTO(kb_auto_free) char *events_copy = events.n ? kb_str_dup(events) : NULL;
    if (err == NULL && call[0] == '\0') {
        kb_err_set(&local, KB_EINTERNAL, "the directory knows no endpoint of '%s'", peer->name);
        err = &local;
    }
    kb__peer_resolved(peer, call, events_copy, err);
}

void kb__resolve(struct kb_peer *peer)
{
    struct kb_actor *actor = peer->actor;
    if (actor->standalone || strcmp(peer->name, "kernel") == 0) {
        KB_AUTO(kb_auto_free) char *call = kb__endpoint(actor, peer->name, "sock");
        KB_AUTO(kb_auto_free) char *events = kb__endpoint(actor, peer->name, "pub");
        kb__peer_resolved(peer, call, events, NULL);
        return;
    }
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", peer->name);
    kb_w_kint(&w, "wait_ms", RESOLVE_WAIT_MS);
    kb_w_end(&w);
    peer->resolve_call = kb_call(kb_actor_peer(actor, "kernel"), "kernel.resolve", kb_w_val(&w),
                                 RESOLVE_WAIT_MS + RESOLVE_GRACE_MS, on_resolved, peer);
}

