#include "store/store_main.h"

#include "bus/base/log.h"
#include "store/store_actor.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { HISTORY_S = 300 };

static void usage(FILE *out)
{
    fprintf(out, "usage: kubus actor store --data DIR [--history-s N] [--standalone]\n"
                 "  --data DIR      the cluster's folder; the store keeps its files in DIR/store\n"
                 "  --history-s N   old versions stay readable for N seconds (300); 0: until\n"
                 "                  store.compact is called\n"
                 "  --standalone    without kubusd\n");
}

static int parse(int argc, char **argv, struct kb_actor_config *actor,
                 struct kb_store_config *store)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},
        {"history-s", required_argument, NULL, 'h'},
        {"standalone", no_argument, NULL, 's'},
        {"help", no_argument, NULL, '?'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            actor->data_dir = optarg;
        else if (c == 's')
            actor->standalone = true;
        else if (c != 'h' || !kb_str_i64(kb_str_of(optarg), &store->history_s) ||
                 store->history_s < 0)
            return -1;
    }
    return actor->data_dir && optind == argc ? 0 : -1;
}

/* The bus calls `stop` with what the configuration named; the store is made after the actor. */
struct process {
    struct kb_store *store;
    struct kb_actor *actor;
};

static void on_stop(void *user)
{
    struct process *p = user;
    if (p->store)
        kb_store_stop(p->store);
    else
        kb_actor_stopped(p->actor);
}

static int run(struct process *p, const struct kb_actor_config *config,
               const struct kb_store_config *store, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/store", config->data_dir);
    struct kb_engine_config engine = {.threads = true};
    int rc = kb_actor_new(config, &p->actor, err);
    if (rc == 0)
        rc = kb_store_start(p->actor, dir, &engine, store, &p->store, err);
    if (rc < 0)
        return rc;
    kb_actor_ready(p->actor);
    rc = kb_actor_run(p->actor, err);
    if (rc == 0 && kb_store_failed(p->store))
        rc = kb_err_set(err, KB_EIO, "the disk has failed; see above");
    return rc;
}

int kb_store_main(int argc, char **argv)
{
    struct process process = {0};
    struct kb_err err = {0};
    struct kb_store_config store = {.history_s = HISTORY_S};
    struct kb_actor_config config = {
        .name = "store", .publishes = true, .stop = on_stop, .user = &process};
    if (parse(argc, argv, &config, &store) < 0) {
        usage(stderr);
        return 2;
    }
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* blocks of generations go back to the system */
    int rc = run(&process, &config, &store, &err);
    if (rc < 0)
        kb_error("%s", err.text);
    kb_store_destroy(&process.store);
    kb_actor_destroy(&process.actor);
    return rc < 0;
}
