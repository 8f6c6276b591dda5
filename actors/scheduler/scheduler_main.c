/* `kubus actor scheduler --data DIR [--seed N]` */
#include "actors/scheduler/scheduler_actor.h"

#include "bus/actor.h"
#include "bus/base/log.h"
#include "bus/base/rand.h"
#include "bus/base/str.h"

#include <getopt.h>
#include <stdio.h>

KB_API int kb_module_main(int argc, char **argv);

struct flags {
    const char *data_dir;
    uint64_t seed;
};

static int parse(int argc, char **argv, struct flags *flags)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"seed", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    struct kb_rand rand;
    int c;
    kb_rand_init_system(&rand);
    flags->seed = kb_rand_next(&rand);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'd')
            flags->data_dir = optarg;
        else if (c != 's' || !kb_str_u64(kb_str_of(optarg), &flags->seed))
            return -1;
    }
    return flags->data_dir && optind == argc ? 0 : -1;
}

int kb_module_main(int argc, char **argv)
{
    struct flags flags = {0};
    struct kb_err err = {0};
    struct kb_actor *actor = NULL;
    if (parse(argc, argv, &flags) < 0) {
        fprintf(stderr, "usage: kubus actor scheduler --data DIR [--seed N]\n");
        return 2;
    }
    struct kb_actor_config config = {.name = "scheduler", .data_dir = flags.data_dir};
    if (kb_actor_new(&config, &actor, &err) < 0) {
        kb_error("%s", err.text);
        return 1;
    }
    struct kb_sched_actor *scheduler = kb_sched_actor_new(actor, flags.seed);
    int rc = kb_actor_run(actor, &err);
    if (rc < 0)
        kb_error("%s", err.text);
    kb_sched_actor_destroy(&scheduler);
    kb_actor_destroy(&actor);
    return rc < 0 ? 1 : 0;
}
