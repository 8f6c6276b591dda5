/* cmd_policy.c - `kubus policy`: scheduling policies of a running cluster; and why a pod is where
 * it is. */
#include "actors/cli/command.h"
#include "actors/cli/policies.h"
#include "actors/cli/policy_new.h"
#include "bus/base/check.h"
#include "bus/model/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct run {
    struct kb_policies p;
    const char *profile, *args; /* as given, or NULL */
    int64_t weight;
    bool json;
};

static void run_finish(struct run *run)
{
    kb_policies_finish(&run->p);
}

/* ---- list ---- */

static void show_points(kb_val points)
{
    bool first = true;
    for (struct kb_iter it = kb_iter(points); kb_iter_next(&it); first = false)
        printf("%s" KB_STR_FMT, first ? "" : ",", KB_STR_ARG(kb_val_str(it.val)));
}

static void show_policy(kb_str profile, kb_val policy)
{
    kb_str version = kb_val_str_at(policy, "version"), held = kb_val_str_at(policy, "held");
    char weight[24] = "";
    if (kb_val_present(kb_val_get(policy, "weight")))
        snprintf(weight, sizeof(weight), "%lld", (long long)kb_val_int_at(policy, "weight", 0));
    printf("%-20.*s %-32.*s %-17.*s %6s  %-7s ", KB_STR_ARG(profile),
           KB_STR_ARG(kb_val_str_at(policy, "name")),
           KB_STR_ARG(version.n ? version : kb_str_of("built in")), weight,
           held.n ? "Held" : "Active");
    if (held.n)
        printf(KB_STR_FMT, KB_STR_ARG(held));
    else
        show_points(kb_val_get(policy, "points"));
    printf("\n");
}

static void show_scheduler(kb_str name, bool several, kb_val state)
{
    kb_str message = kb_val_str_at(state, "message");
    if (several)
        printf(KB_STR_FMT ":\n", KB_STR_ARG(name));
    printf("%-20s %-32s %-17s %6s  %-7s %s\n", "PROFILE", "POLICY", "VERSION", "WEIGHT", "STATE",
           "ASKED AT");
    for (struct kb_iter it = kb_iter(kb_val_get(state, "profiles")); kb_iter_next(&it);)
        for (struct kb_iter k = kb_iter(kb_val_get(it.val, "policies")); kb_iter_next(&k);)
            show_policy(kb_val_str_at(it.val, "name"), k.val);
    if (message.n)
        printf("\nThe configuration in kube-system/kubus-scheduler is refused; the one before goes "
               "on:\n  " KB_STR_FMT "\n",
               KB_STR_ARG(message));
}

static void show_json(kb_val state)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_json_write(&text, state, KB_JSON_PRETTY);
    printf("%s\n", text.p);
}

/* What a scheduler says, of one profile or of all (NULL). NULL when it has no such profile. */
static struct kb_doc *of_profile(const struct kb_doc *said, const char *profile)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *state = kb_node_of(&arena, kb_doc_root(said));
    struct kb_node *profiles = kb_node_get(state, "profiles");
    for (uint32_t i = profile && profiles ? profiles->count : 0; i-- > 0;)
        if (!kb_str_is(kb_node_text_at(profiles->items[i].val, "name"), profile))
            kb_node_remove(profiles, i);
    bool has = profile == NULL || (profiles && profiles->count > 0);
    return has ? kb_node_doc(state) : NULL;
}

/* One scheduler may have a profile that another lacks: all are asked before anything is said. */
static int ask_all(struct run *run, const struct kb_node *names, struct kb_doc **states,
                   struct kb_err *err)
{
    bool found = false;
    for (uint32_t i = 0; i < names->count; i++) {
        KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_node_text(names->items[i].val));
        KB_AUTO(kb_doc_destroy) struct kb_doc *said = NULL;
        int rc = kb_policies_call(&run->p, name, "scheduler.policies", (kb_val){0}, &said, err);
        if (rc < 0)
            return rc;
        states[i] = of_profile(said, run->profile);
        found |= states[i] != NULL;
    }
    return found ? 0 : kb_err_set(err, KB_ENOTFOUND, "there is no profile %s", run->profile);
}

static int cmd_list(struct run *run, const char *what, struct kb_err *err)
{
    (void)what;
    struct kb_node *names;
    int rc = kb_policies_schedulers(&run->p, &names, err);
    if (rc < 0)
        return rc;
    struct kb_doc **states = calloc(names->count, sizeof(struct kb_doc *));
    KB_ASSERT(states != NULL);
    rc = ask_all(run, names, states, err);
    for (uint32_t i = 0; i < names->count; i++) {
        if (rc == 0 && states[i] && run->json)
            show_json(kb_doc_root(states[i]));
        else if (rc == 0 && states[i])
            show_scheduler(kb_node_text(names->items[i].val), names->count > 1,
                           kb_doc_root(states[i]));
        kb_doc_destroy(&states[i]);
    }
    free(states);
    return rc;
}

/* ---- load, upgrade, unload, resume ---- */

static bool is_file(const char *text)
{
    return strchr(text, '/') != NULL || kb_str_ends(kb_str_of(text), ".so");
}

/* The scheduler copies a file to where it keeps them, and says what it is. */
static int keep(struct run *run, const char *file, const char **ret_name, const char **ret_version,
                struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = realpath(file, NULL);
    KB_AUTO(kb_doc_destroy) struct kb_doc *kept = NULL;
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    struct kb_node *names;
    if (path == NULL)
        return kb_err_set(err, KB_ENOTFOUND, "'%s' is not there", file);
    int rc = kb_policies_schedulers(&run->p, &names, err);
    if (rc < 0)
        return rc;
    KB_AUTO(kb_auto_free) char *scheduler = kb_str_dup(kb_node_text(names->items[0].val));
    kb_w_map(&body);
    kb_w_kcstr(&body, "file", path);
    kb_w_end(&body);
    rc = kb_policies_call(&run->p, scheduler, "scheduler.keep", kb_w_val(&body), &kept, err);
    if (rc < 0)
        return rc;
    *ret_name = kb_arena_str(&run->p.arena, kb_val_str(kb_doc_at(kept, "name"))).p;
    *ret_version = kb_arena_str(&run->p.arena, kb_val_str(kb_doc_at(kept, "version"))).p;
    return 0;
}

static int parse_args(struct run *run, struct kb_node **ret, struct kb_err *err)
{
    *ret = NULL;
    if (run->args == NULL)
        return 0;
    if (kb_json_parse(&run->p.arena, kb_str_of(run->args), NULL, ret, err) < 0)
        return kb_err_wrap(err, "--args");
    return (*ret)->type == KB_MAP ? 0 : kb_err_set(err, KB_EINVAL, "--args takes a JSON object");
}

static int cmd_load(struct run *run, const char *what, struct kb_err *err)
{
    const char *name = what, *version = NULL;
    const char *profile = run->profile ? run->profile : "default-scheduler";
    struct kb_node *args;
    int rc = parse_args(run, &args, err);
    if (rc == 0 && is_file(what))
        rc = keep(run, what, &name, &version, err);
    if (rc == 0)
        rc = kb_policies_read(&run->p, err);
    if (rc == 0)
        rc =
            kb_policies_enable(&run->p.arena, run->p.config, profile, name, run->weight, args, err);
    if (rc < 0)
        return rc;
    if (version)
        kb_node_set_cstr(&run->p.arena, run->p.versions, name, version);
    rc = kb_policies_write(&run->p, err);
    if (rc == 0)
        printf("policy %s%s%s is at work in profile %s\n", name, version ? " " : "",
               version ? version : "", profile);
    return rc;
}

static int cmd_upgrade(struct run *run, const char *file, struct kb_err *err)
{
    const char *name, *version;
    int rc = keep(run, file, &name, &version, err);
    if (rc == 0)
        rc = kb_policies_read(&run->p, err);
    if (rc < 0)
        return rc;
    if (!kb_policies_uses(run->p.config, name))
        return kb_err_set(err, KB_ENOTFOUND, "no profile uses %s; `kubus policy load %s` does that",
                          name, file);
    const struct kb_node *before = kb_node_get(run->p.versions, name);
    if (kb_str_is(kb_node_text(before), version)) {
        printf("policy %s is %s already\n", name, version);
        return 0;
    }
    KB_AUTO(kb_auto_free) char *was = kb_str_dup(kb_node_text(before));
    kb_node_set_cstr(&run->p.arena, run->p.versions, name, version);
    rc = kb_policies_write(&run->p, err);
    if (rc == 0)
        printf("policy %s: %s, was %s\n", name, version, *was ? was : "another one");
    return rc;
}

static int cmd_unload(struct run *run, const char *name, struct kb_err *err)
{
    int rc = kb_policies_read(&run->p, err);
    if (rc < 0)
        return rc;
    if (kb_policies_disable(run->p.config, run->profile, name) == 0)
        return kb_err_set(err, KB_ENOTFOUND,
                          "no profile names %s; to disable one of the default set, edit the "
                          "configmap kube-system/kubus-scheduler",
                          name);
    if (!kb_policies_uses(run->p.config, name))
        kb_node_del(run->p.versions, name);
    rc = kb_policies_write(&run->p, err);
    if (rc == 0)
        printf("policy %s is unloaded\n", name);
    return rc;
}

static bool says_held(kb_val state, const char *name)
{
    for (struct kb_iter it = kb_iter(kb_val_get(state, "profiles")); kb_iter_next(&it);)
        for (struct kb_iter k = kb_iter(kb_val_get(it.val, "policies")); kb_iter_next(&k);)
            if (kb_str_is(kb_val_str_at(k.val, "name"), name) && kb_val_str_at(k.val, "held").n > 0)
                return true;
    return false;
}

static int check_held(struct run *run, const char *name, struct kb_err *err)
{
    struct kb_node *names;
    int rc = kb_policies_schedulers(&run->p, &names, err);
    for (uint32_t i = 0; rc == 0 && i < names->count; i++) {
        KB_AUTO(kb_auto_free) char *scheduler = kb_str_dup(kb_node_text(names->items[i].val));
        KB_AUTO(kb_doc_destroy) struct kb_doc *state = NULL;
        rc = kb_policies_call(&run->p, scheduler, "scheduler.policies", (kb_val){0}, &state, err);
        if (rc == 0 && says_held(kb_doc_root(state), name))
            return 0;
    }
    return rc < 0 ? rc : kb_err_set(err, KB_ENOTFOUND, "no policy %s is held", name);
}

/* The schedulers' word that it is held is taken back, and they try it again. */
static int cmd_resume(struct run *run, const char *name, struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_auto_free) char *key = kb_strf("held.%s", name);
    kb_w_map(&body);
    kb_w_kcstr(&body, "resource", "configmaps");
    kb_w_kcstr(&body, "ns", "kube-system");
    kb_w_kcstr(&body, "name", "kubus-scheduler-status");
    kb_w_kcstr(&body, "type", "merge");
    kb_w_kcstr(&body, "manager", "kubus");
    kb_w_kmap(&body, "patch");
    kb_w_kmap(&body, "data");
    kb_w_key(&body, key);
    kb_w_nil(&body);
    kb_w_end(&body);
    kb_w_end(&body);
    kb_w_end(&body);
    int rc = check_held(run, name, err);
    if (rc == 0)
        rc = kb_policies_call(&run->p, "api", "object.patch", kb_w_val(&body), NULL, err);
    if (rc == 0)
        printf("policy %s is tried again\n", name);
    return rc;
}

/* ---- explain ---- */

struct row {
    kb_val node;
    int64_t total;
};

static int by_total(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->total != y->total)
        return x->total > y->total ? -1 : 1;
    return kb_str_cmp(kb_val_str_at(x->node, "name"), kb_val_str_at(y->node, "name"));
}

static void show_row(const struct row *row, kb_val columns)
{
    printf("%-24.*s ", KB_STR_ARG(kb_val_str_at(row->node, "name")));
    if (row->total < 0) {
        bool first = true;
        printf("%8s  " KB_STR_FMT ": ", "-", KB_STR_ARG(kb_val_str_at(row->node, "refusedBy")));
        for (struct kb_iter it = kb_iter(kb_val_get(row->node, "reasons")); kb_iter_next(&it);
             first = false)
            printf("%s" KB_STR_FMT, first ? "" : ", ", KB_STR_ARG(kb_val_str(it.val)));
        printf("\n");
        return;
    }
    printf("%8lld", (long long)row->total);
    for (struct kb_iter it = kb_iter(columns); kb_iter_next(&it);)
        printf("  %*lld", (int)it.key.n,
               (long long)kb_val_int(kb_val_getn(kb_val_get(row->node, "scores"), it.key), 0));
    printf("\n");
}

static void show_explained(kb_val nodes)
{
    size_t n = kb_val_count(nodes), at = 0;
    struct row *rows = calloc(n + 1, sizeof(*rows));
    kb_val columns = {0};
    for (struct kb_iter it = kb_iter(nodes); rows && kb_iter_next(&it); at++)
        rows[at] = (struct row){it.val, kb_val_int_at(it.val, "total", -1)};
    qsort(rows, n, sizeof(*rows), by_total);
    if (n > 0)
        columns = kb_val_get(rows[0].node, "scores");
    printf("%-24s %8s", "NODE", "TOTAL");
    for (struct kb_iter it = kb_iter(columns); kb_iter_next(&it);)
        printf("  " KB_STR_FMT, KB_STR_ARG(it.key));
    printf("\n");
    for (size_t i = 0; i < n; i++)
        show_row(&rows[i], columns);
    free(rows);
}

static int cmd_explain(struct run *run, const char *pod, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *said = NULL;
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_auto_free)
    char *key = kb_strf("pods/%s%s", strchr(pod, '/') ? "" : "default/", pod);
    struct kb_node *names;
    int rc = kb_policies_schedulers(&run->p, &names, err);
    if (rc < 0)
        return rc;
    KB_AUTO(kb_auto_free) char *scheduler = kb_str_dup(kb_node_text(names->items[0].val));
    kb_w_map(&body);
    kb_w_kcstr(&body, "key", key);
    kb_w_end(&body);
    rc = kb_policies_call(&run->p, scheduler, "scheduler.explain", kb_w_val(&body), &said, err);
    if (rc < 0)
        return rc;
    if (run->json) {
        kb_json_write(&text, kb_doc_root(said), KB_JSON_PRETTY);
        printf("%s\n", text.p);
    } else {
        show_explained(kb_doc_at(said, "nodes"));
    }
    return 0;
}

/* ---- the command ---- */

static int cmd_new(struct run *run, const char *name, struct kb_err *err)
{
    (void)run;
    return kb_policy_new(name, err);
}

struct verb {
    const char *name;
    int (*run)(struct run *run, const char *what, struct kb_err *err);
    bool unnamed, offline; /* takes no name; needs no cluster */
};

static const struct verb verbs[] = {
    {.name = "new", .run = cmd_new, .offline = true},
    {.name = "list", .run = cmd_list, .unnamed = true},
    {.name = "load", .run = cmd_load},
    {.name = "upgrade", .run = cmd_upgrade},
    {.name = "unload", .run = cmd_unload},
    {.name = "resume", .run = cmd_resume},
    {.name = "explain", .run = cmd_explain},
};

static const struct verb *verb_of(const char *name)
{
    for (size_t i = 0; i < KB_COUNT(verbs); i++)
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

int kb_cmd_policy(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(run_finish) struct run run = {0};
    const char *data_option = NULL, *output = "";
    const struct kb_opt opts[] = {
        {"data", 0, KB_OPT_TEXT, &data_option, "DIR", "the cluster's data folder", 0, 0},
        {"profile", 0, KB_OPT_TEXT, &run.profile, "NAME",
         "which profile [load: default-scheduler; list, unload: all]", 0, 0},
        {"weight", 0, KB_OPT_INT, &run.weight, "N", "of the scores [the policy's own]", 1, 100000},
        {"args", 0, KB_OPT_TEXT, &run.args, "JSON", "the policy's arguments", 0, 0},
        {"output", 'o', KB_OPT_TEXT, &output, "FORMAT", "json", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (operands.count < 1 || operands.count > 2)
        return kb_command_misuse(command, "say what to do, and to what");
    const struct verb *verb = verb_of(operands.items[0]);
    const char *what = operands.count == 2 ? operands.items[1] : NULL;
    if (verb == NULL)
        return kb_command_misuse(command, "there is no `kubus policy %s`", operands.items[0]);
    if (verb->unnamed != (what == NULL))
        return kb_command_misuse(command, "`kubus policy %s` takes %s", verb->name,
                                 verb->unnamed ? "no name" : "a name");
    run.json = strcmp(output, "json") == 0;
    KB_AUTO(kb_auto_free) char *data = kb_data_dir(data_option);
    if (!verb->offline)
        rc = kb_policies_open(&run.p, data, &err);
    if (rc == 0)
        rc = verb->run(&run, what, &err);
    return rc < 0 ? kb_command_fail(command, &err) : 0;
}
