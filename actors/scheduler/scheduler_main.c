/* `kubus actor scheduler --data DIR [--name NAME] [--share I/N] [--seed N] [--record FILE]` */
#include "actors/scheduler/scheduler_actor.h"

#include "actors/scheduler/watchdog.h"
#include "bus/actor.h"
#include "bus/base/file.h"
#include "bus/base/log.h"
#include "bus/base/rand.h"
#include "bus/base/str.h"

#include <getopt.h>
#include <stdio.h>

KB_API int kb_module_main(int argc, char **argv);

struct flags {
    const char *data_dir, *name, *record;
    uint64_t seed;
    uint32_t share, shares;
};

/* "0/3" */
static bool parse_share(const char *text, struct flags *flags)
{
    kb_str of = kb_str_of(text), share = kb_str_cut(&of, '/');
    uint64_t i, n;
    if (of.p == NULL || !kb_str_u64(share, &i) || !kb_str_u64(of, &n) || i >= n || n > 1000)
        return false;
    flags->share = (uint32_t)i;
    flags->shares = (uint32_t)n;
    return true;
}

static int parse(int argc, char **argv, struct flags *flags)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},  {"seed", required_argument, NULL, 's'},
        {"name", required_argument, NULL, 'n'},  {"record", required_argument, NULL, 'r'},
        {"share", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0}};
    struct kb_rand rand;
    int c;
    kb_rand_init_system(&rand);
    flags->seed = kb_rand_next(&rand);
    flags->name = "scheduler";
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd')
            flags->data_dir = optarg;
        else if (c == 'n')
            flags->name = optarg;
        else if (c == 'r')
            flags->record = optarg;
        else if (c == 'i' && parse_share(optarg, flags))
            continue;
        else if (c != 's' || !kb_str_u64(kb_str_of(optarg), &flags->seed))
            return -1;
    }
    return flags->data_dir && optind == argc ? 0 : -1;
}

/* Not to know who crashed is no reason not to schedule. */
static void guard(struct kb_sched_actor *scheduler, const struct flags *flags)
{
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/policies", flags->data_dir);
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s.guard", dir, flags->name);
    struct kb_guard_page *page;
    struct kb_watchdog_found found;
    struct kb_err err = {0};
    if (kb_dir_make(dir, 0755, &err) < 0 || kb_watchdog_open(path, &page, &found, &err) < 0)
        kb_warn("without a watchdog: %s", err.text);
    else
        kb_sched_actor_guard(scheduler, page, &found);
}

int kb_module_main(int argc, char **argv)
{
    struct flags flags = {0};
    struct kb_err err = {0};
    struct kb_actor *actor = NULL;
    if (parse(argc, argv, &flags) < 0) {
        fprintf(stderr, "usage: kubus actor scheduler --data DIR [--name NAME] [--share I/N] "
                        "[--seed N] [--record FILE]\n");
        return 2;
    }
    struct kb_actor_config config = {.name = flags.name, .data_dir = flags.data_dir};
    if (kb_actor_new(&config, &actor, &err) < 0) {
        kb_error("%s", err.text);
        return 1;
    }
    struct kb_sched_actor *scheduler = kb_sched_actor_new(actor, flags.seed);
    guard(scheduler, &flags);
    int rc = flags.record ? kb_sched_actor_record(scheduler, flags.seed, flags.record, &err) : 0;
    kb_sched_actor_share(scheduler, flags.share, flags.shares);
    rc = rc < 0 ? rc : kb_actor_run(actor, &err);
    if (rc < 0)
        kb_error("%s", err.text);
    kb_sched_actor_destroy(&scheduler);
    kb_actor_destroy(&actor);
    return rc < 0 ? 1 : 0;
}
