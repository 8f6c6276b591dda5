/* store_cli.c - care for a store from the command line, running or not.
 *
 * Whether a store runs is asked of its lock: who can open the data owns it, and works on it;
 * otherwise the running store is called over the bus. */
#include "store/store_main.h"

#include "bus/actor.h"
#include "store/engine.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALL_MS = 3600 * 1000, PROBLEMS_SHOWN = 100 };

static void usage(FILE *out)
{
    fprintf(out,
            "usage: kubus store backup FILE [--data DIR]    a copy, also while the cluster runs\n"
            "       kubus store restore FILE [--data DIR]   put a copy in place; the cluster must "
            "be down\n"
            "       kubus store check [--data DIR]          look everything over\n");
}

static int complain(const struct kb_err *err)
{
    fprintf(stderr, "kubus: %s\n", err->text);
    return 1;
}

static char *absolute(const char *path)
{
    char cwd[PATH_MAX];
    if (path[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
        return kb_str_dup(kb_str_of(path));
    return kb_strf("%s/%s", cwd, path);
}

/* ---- over the bus ---- */

struct call {
    struct kb_actor *actor;
    struct kb_err err;
    struct kb_doc *result;
};

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct call *call = user;
    if (err)
        call->err = *err;
    else
        call->result = kb_doc_of(body);
    kb_actor_stopped(call->actor);
}

/* Call the running store and wait for its answer; the caller destroys it. */
static int ask(const char *data, const char *method, kb_val body, struct kb_doc **ret_doc,
               struct kb_err *err)
{
    struct call call = {0};
    KB_AUTO(kb_actor_destroy) struct kb_actor *actor = NULL;
    char name[32];
    snprintf(name, sizeof(name), "tool-%d", (int)getpid());
    struct kb_actor_config config = {.name = name, .data_dir = data, .standalone = true};
    int rc = kb_actor_new(&config, &actor, err);
    if (rc < 0)
        return rc;
    call.actor = actor;
    kb_call(kb_actor_peer(actor, "store"), method, body, CALL_MS, on_reply, &call);
    rc = kb_actor_run(actor, err);
    if (rc == 0 && call.err.code) {
        *err = call.err;
        rc = -err->code;
    }
    if (rc == 0 && call.result == NULL)
        rc = kb_err_set(err, KB_ECANCELED, "interrupted");
    if (rc == 0)
        *ret_doc = call.result;
    return rc;
}

/* ---- backup ---- */

static int backup_here(struct kb_engine *engine, const char *file, int64_t *ret_rev,
                       int64_t *ret_bytes, struct kb_err *err)
{
    struct kb_commit commit;
    uint64_t rev, bytes;
    int rc = kb_engine_backup(engine, file, err), result;
    if (rc < 0)
        return rc;
    while (!kb_engine_backup_done(engine, &result, &rev, &bytes, err))
        kb_engine_poll(engine, &commit);
    *ret_rev = (int64_t)rev;
    *ret_bytes = (int64_t)bytes;
    return result;
}

static int backup_there(const char *data, const char *file, int64_t *ret_rev, int64_t *ret_bytes,
                        struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *result = NULL;
    kb_w_map(&w);
    kb_w_kcstr(&w, "file", file);
    kb_w_end(&w);
    int rc = ask(data, "store.backup", kb_w_val(&w), &result, err);
    *ret_rev = kb_val_int_at(kb_doc_root(result), "rev", 0);
    *ret_bytes = kb_val_int_at(kb_doc_root(result), "bytes", 0);
    return rc;
}

static int backup(const char *data, const char *dir, const char *file)
{
    KB_AUTO(kb_engine_close) struct kb_engine *engine = NULL;
    KB_AUTO(kb_auto_free) char *path = absolute(file);
    struct kb_engine_config config = {.dir = dir};
    struct kb_err err = {0};
    int64_t rev = 0, bytes = 0;
    int rc = access(dir, F_OK) < 0 ? kb_err_sys(&err, errno, "%s", dir)
                                   : kb_engine_open(&config, &engine, &err);
    if (rc == 0)
        rc = backup_here(engine, path, &rev, &bytes, &err);
    else if (rc == -KB_EUNAVAILABLE)
        rc = backup_there(data, path, &rev, &bytes, &err);
    if (rc < 0)
        return complain(&err);
    printf("backup of revision %lld in %s (%lld bytes)\n", (long long)rev, path, (long long)bytes);
    return 0;
}

static int restore(const char *dir, const char *file)
{
    struct kb_err err = {0};
    if (kb_engine_restore(dir, file, &err) < 0)
        return complain(&err);
    printf("restored %s into %s; what was there is in %s/db.old\n", file, dir, dir);
    return 0;
}

/* ---- check ---- */

static void show(void *user, const char *text)
{
    int *n = user;
    if ((*n)++ < PROBLEMS_SHOWN)
        printf("%s\n", text);
}

static int check_here(const char *dir, int *ret_problems, struct kb_err *err)
{
    KB_AUTO(kb_engine_close) struct kb_engine *engine = NULL;
    struct kb_engine_config config = {.dir = dir};
    int rc = kb_engine_open(&config, &engine, err);
    return rc < 0 ? rc : kb_engine_check(engine, show, ret_problems, err);
}

static int check_there(const char *data, int *ret_problems, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *result = NULL;
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_end(&w);
    int rc = ask(data, "store.check", kb_w_val(&w), &result, err);
    kb_w_finish(&w);
    for (struct kb_iter it = kb_iter(kb_doc_at(result, "problems")); kb_iter_next(&it);) {
        KB_AUTO(kb_auto_free) char *text = kb_str_dup(kb_val_str(it.val));
        show(ret_problems, text);
    }
    return rc;
}

/* In a process of its own: LMDB may read wild addresses in a file whose pages are damaged. */
static int check(const char *data, const char *dir)
{
    struct kb_err err = {0};
    int problems = 0, status = 0;
    if (access(dir, F_OK) < 0) {
        kb_err_sys(&err, errno, "%s", dir);
        return complain(&err);
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = check_here(dir, &problems, &err);
        if (rc == -KB_EUNAVAILABLE)
            rc = check_there(data, &problems, &err);
        if (rc < 0)
            exit(complain(&err));
        if (problems == 0)
            printf("the store is sound\n");
        else
            printf("%d problems\n", problems);
        exit(problems != 0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || WIFSIGNALED(status)) {
        fprintf(stderr, "kubus: %s: the database's pages are damaged: restore a backup\n", dir);
        return 1;
    }
    return WEXITSTATUS(status);
}

int kb_store_cli(int argc, char **argv)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *data = getenv("KUBUS_DATA"), *home = getenv("HOME");
    KB_AUTO(kb_auto_free) char *own = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c != 'd') {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
        data = optarg;
    }
    if (data == NULL || data[0] == '\0')
        data = own = geteuid() == 0 || home == NULL ? kb_strf("/var/lib/kubus")
                                                    : kb_strf("%s/.local/share/kubus", home);
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/store", data);
    const char *what = optind < argc ? argv[optind] : "", *file = argv[optind + 1];
    int left = argc - optind;
    if (strcmp(what, "backup") == 0 && left == 2)
        return backup(data, dir, file);
    if (strcmp(what, "restore") == 0 && left == 2)
        return restore(dir, file);
    if (strcmp(what, "check") == 0 && left == 1)
        return check(data, dir);
    usage(stderr);
    return 2;
}
