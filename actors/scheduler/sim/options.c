#include "actors/scheduler/sim/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    NODES = 1,
    PODS,
    POLICY,
    PROFILE,
    SEED,
    TUNE,
    OUT,
    FAIL,
    FAIL_RATE,
    REPAIR,
    POPULARITY,
    TIES,
    DROP,
    JOBS,
    HELP,
    NODE_COUNT,
    POD_COUNT
};

static const struct option table[] = {
    {"nodes", required_argument, NULL, NODES},
    {"pods", required_argument, NULL, PODS},
    {"policy", required_argument, NULL, POLICY},
    {"policies", required_argument, NULL, POLICY},
    {"profile", required_argument, NULL, PROFILE},
    {"seed", required_argument, NULL, SEED},
    {"seeds", required_argument, NULL, SEED},
    {"tune", required_argument, NULL, TUNE},
    {"out", required_argument, NULL, OUT},
    {"fail", required_argument, NULL, FAIL},
    {"fail-rate", required_argument, NULL, FAIL_RATE},
    {"repair", required_argument, NULL, REPAIR},
    {"popularity", required_argument, NULL, POPULARITY},
    {"ties", required_argument, NULL, TIES},
    {"drop", no_argument, NULL, DROP},
    {"jobs", required_argument, NULL, JOBS},
    {"node-count", required_argument, NULL, NODE_COUNT},
    {"pod-count", required_argument, NULL, POD_COUNT},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static int add(struct kb_sim_list *list, const char *text, struct kb_err *err)
{
    if (list->n == KB_SIM_LIST)
        return kb_err_set(err, KB_EINVAL, "more than %d of one option", KB_SIM_LIST);
    list->at[list->n++] = text;
    return 0;
}

/* "A,B,C"; the text is split in place. */
static int add_all(struct kb_sim_list *list, char *text, struct kb_err *err)
{
    int rc = 0;
    char *save;
    for (char *one = strtok_r(text, ",", &save); rc == 0 && one; one = strtok_r(NULL, ",", &save))
        rc = add(list, one, err);
    return rc;
}

/* "42" or "42..51". */
static int seeds(struct kb_sim_options *o, const char *text, struct kb_err *err)
{
    const char *dots = strstr(text, "..");
    kb_str from = dots ? kb_str_n(text, (size_t)(dots - text)) : kb_str_of(text);
    kb_str to = dots ? kb_str_of(dots + 2) : from;
    if (!kb_str_u64(from, &o->seed_from) || !kb_str_u64(to, &o->seed_to) ||
        o->seed_to < o->seed_from || o->seed_to - o->seed_from >= KB_SIM_SEEDS)
        return kb_err_set(err, KB_EINVAL, "a seed is a number, or a range like 42..51, not '%s'",
                          text);
    return 0;
}

static int number(const char *text, const char *name, double low, double high, double *ret,
                  struct kb_err *err)
{
    char *end;
    double d = strtod(text, &end);
    if (end == text || *end != '\0' || !(d >= low && d <= high))
        return kb_err_set(err, KB_EINVAL, "--%s takes a number from %g to %g, not '%s'", name, low,
                          high, text);
    *ret = d;
    return 0;
}

static int ties(const char *text, enum kb_sim_ties *ret, struct kb_err *err)
{
    if (strcmp(text, "even") == 0)
        *ret = KB_SIM_TIES_EVEN;
    else if (strcmp(text, "first") == 0)
        *ret = KB_SIM_TIES_FIRST;
    else
        return kb_err_set(err, KB_EINVAL, "--ties takes even or first, not '%s'", text);
    return 0;
}

static int take(struct kb_sim_options *o, int option, char *value, struct kb_err *err)
{
    double n = 0;
    int rc = 0;
    switch (option) {
    case NODES:
        return add(&o->nodes, value, err);
    case PODS:
        return add(&o->pods, value, err);
    case POLICY:
        return add_all(&o->policies, value, err);
    case FAIL:
        return add(&o->fails, value, err);
    case SEED:
        return seeds(o, value, err);
    case TUNE:
        return number(value, "tune", 0.01, 100, &o->tune, err);
    case FAIL_RATE:
        return number(value, "fail-rate", 0, 1000, &o->fails_per_day, err);
    case REPAIR:
        return number(value, "repair", 0, 1e9, &o->repair_s, err);
    case POPULARITY:
        return number(value, "popularity", 1, 100, &o->popularity, err);
    case TIES:
        return ties(value, &o->ties, err);
    case JOBS:
        rc = number(value, "jobs", 1, 1024, &n, err);
        o->jobs = (int64_t)n;
        return rc;
    case NODE_COUNT:
        rc = number(value, "node-count", 1, 1000000, &n, err);
        o->node_count = (uint32_t)n;
        return rc;
    case POD_COUNT:
        rc = number(value, "pod-count", 1, 4000000, &n, err);
        o->pod_count = (uint32_t)n;
        return rc;
    case PROFILE:
        o->profile = value;
        return 0;
    case OUT:
        o->out = value;
        return 0;
    case DROP:
        o->drop = true;
        return 0;
    default:
        o->help = true;
        return 0;
    }
}

int kb_sim_options(int argc, char **argv, struct kb_sim_options *o, struct kb_err *err)
{
    int option, rc;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
        if (option == ':')
            return kb_err_set(err, KB_EINVAL, "%s needs a value", argv[optind - 1]);
        if (option == '?')
            return kb_err_set(err, KB_EINVAL, "there is no option %s", argv[optind - 1]);
        if ((rc = take(o, option, optarg, err)) < 0)
            return rc;
    }
    for (; optind < argc; optind++)
        if ((rc = add(&o->rest, argv[optind], err)) < 0)
            return rc;
    return 0;
}

char *kb_sim_command(int argc, char **argv)
{
    struct kb_buf b = {0};
    kb_buf_puts(&b, "kubus");
    for (int i = 0; i < argc; i++) {
        bool plain = argv[i][strcspn(argv[i], " \t\n'\"\\$*?;&|<>()")] == '\0' && argv[i][0];
        kb_buf_printf(&b, plain ? " %s" : " '%s'", argv[i]);
    }
    return kb_buf_steal(&b, NULL);
}
