#include "actors/scheduler/sim/replay.h"

#include "actors/scheduler/core/outside.h"
#include "actors/scheduler/record.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/key.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SHOWN = 20 };

struct player {
    struct kb_replay *replay;
    const char *name;
    size_t line;
    struct kb_sched *sched;
    struct kb_sched_out out;
    struct kb_arena arena; /* of the line */
    kb_replay_resolve *resolve;
    void *user;
    struct kb_err *err;
};

static int wrong(struct player *p, const char *what)
{
    return kb_err_set(p->err, KB_EINVAL, "%s:%zu: %s", p->name, p->line, what);
}

static void differ(struct player *p, const char *was, kb_str a, const char *is, kb_str b)
{
    if (p->replay->differences++ >= SHOWN)
        return;
    kb_buf_printf(&p->replay->report, "%s:%zu:\n  %-9s " KB_STR_FMT "\n  %-9s " KB_STR_FMT "\n",
                  p->name, p->line, was, KB_STR_ARG(a), is, KB_STR_ARG(b));
}

/* ---- wishes ---- */

/* A recorded wish in the form in which it was written. */
static void recorded_text(const struct kb_node *wish, struct kb_buf *out)
{
    kb_buf_clear(out);
    kb_json_write_node(out, wish, 0);
}

static void compare(struct player *p, const struct kb_node *recorded)
{
    KB_AUTO(kb_buf_finish) struct kb_buf was = {0}, is = {0};
    uint32_t at = 0, n = recorded && recorded->type == KB_ARRAY ? recorded->count : 0;
    kb_str nothing = kb_str_of("nothing");
    for (size_t i = 0; i < p->out.n; i++) {
        kb_buf_clear(&is);
        if (!kb_record_wish(&is, &p->out.wishes[i]))
            continue;
        p->replay->bindings += p->out.wishes[i].kind == KB_SCHED_BIND;
        if (at < n)
            recorded_text(recorded->items[at++].val, &was);
        else
            kb_buf_clear(&was);
        if (!kb_str_eq(kb_buf_str(&was), kb_buf_str(&is)))
            differ(p, "recorded", was.n ? kb_buf_str(&was) : nothing, "replayed", kb_buf_str(&is));
    }
    for (; at < n; at++) {
        recorded_text(recorded->items[at].val, &was);
        differ(p, "recorded", kb_buf_str(&was), "replayed", nothing);
    }
    kb_sched_out_clear(&p->out);
}

/* ---- configuration ---- */

/* A text in the arena; NULL when it is not there. */
static const char *text_of(struct player *p, const struct kb_node *node, const char *key)
{
    kb_str text = kb_node_text(kb_node_get(node, key));
    return text.n > 0 ? kb_arena_str(&p->arena, text).p : NULL;
}

static int read_entry(struct player *p, const struct kb_node *node, struct kb_profile_entry *ret)
{
    kb_str name = kb_node_text(kb_node_get(node, "policy"));
    kb_str args = kb_node_text(kb_node_get(node, "args"));
    KB_AUTO(kb_auto_free) char *policy = kb_str_dup(name);
    *ret = (struct kb_profile_entry){
        .weight = (int32_t)kb_node_num(kb_node_get(node, "weight"), 0),
        .without = (uint32_t)kb_node_num(kb_node_get(node, "without"), 0),
        .args = args.p ? kb_arena_str(&p->arena, args).p : NULL,
        .version = text_of(p, node, "version"),
        .held = text_of(p, node, "held"),
    };
    if (ret->version == NULL)
        ret->policy = kb_policy_builtin(policy);
    if (ret->policy == NULL && p->resolve != NULL)
        ret->policy = p->resolve(p->user, policy, ret->version);
    if (ret->policy == NULL)
        return kb_err_set(p->err, KB_EINVAL,
                          "%s:%zu: there is no policy '%s' here: give its file by --policies",
                          p->name, p->line, policy);
    return 0;
}

static int read_profile(struct player *p, const struct kb_node *node, struct kb_config_profile *ret)
{
    const struct kb_node *policies = kb_node_get(node, "policies");
    if (policies == NULL || policies->type != KB_ARRAY || policies->count > KB_PROFILE_POLICIES)
        return wrong(p, "a profile without policies");
    ret->name = kb_arena_str(&p->arena, kb_node_text(kb_node_get(node, "name"))).p;
    for (uint32_t i = 0; i < policies->count; i++)
        if (read_entry(p, policies->items[i].val, &ret->entries[ret->n++]) < 0)
            return -KB_EINVAL;
    return 0;
}

static int configure(struct player *p, const struct kb_node *line)
{
    const struct kb_node *profiles = kb_node_get(line, "profiles");
    struct kb_config config = {
        .backoff_ms = kb_node_num(kb_node_get(line, "backoff"), 1000),
        .backoff_max_ms = kb_node_num(kb_node_get(line, "backoffMax"), 10000),
    };
    if (profiles == NULL || profiles->type != KB_ARRAY || profiles->count > KB_CONFIG_PROFILES)
        return wrong(p, "a configuration without profiles");
    config.profiles = calloc(profiles->count + 1, sizeof(*config.profiles));
    KB_ASSERT(config.profiles != NULL);
    int rc = 0;
    for (; rc == 0 && config.profiles_n < profiles->count; config.profiles_n++)
        rc = read_profile(p, profiles->items[config.profiles_n].val,
                          &config.profiles[config.profiles_n]);
    if (rc == 0)
        rc = kb_sched_configure(p->sched, &config, p->err);
    free(config.profiles);
    return rc;
}

/* ---- lines ---- */

static int begin(struct player *p, const struct kb_node *line)
{
    uint64_t seed;
    if (kb_node_num(kb_node_get(line, "version"), 0) != 1)
        return wrong(p, "a record of a version that is not known here");
    if (!kb_str_u64(kb_node_text(kb_node_get(line, "seed")), &seed))
        return wrong(p, "no seed");
    kb_sched_destroy(&p->sched);
    p->sched = kb_sched_new(seed);
    p->replay->begins++;
    return 0;
}

/* A key of a pod, a node or another object, where there has to be one; and an object. */
static int check_line(struct player *p, enum kb_sched_input_kind kind, const struct kb_node *line)
{
    struct kb_key key;
    const struct kb_node *doc = kb_node_get(line, "doc");
    bool about =
        kind != KB_SCHED_IN_TIME && kind != KB_SCHED_IN_DECIDE && kind < KB_SCHED_IN_CONFIGURE;
    bool put = kind == KB_SCHED_IN_NODE_PUT || kind == KB_SCHED_IN_POD_PUT;
    if (about && kb_key_parse(kb_node_text(kb_node_get(line, "key")), &key, NULL) < 0)
        return wrong(p, "no key");
    if (put ? doc == NULL || doc->type != KB_MAP : doc != NULL && doc->type != KB_MAP)
        return wrong(p, "no object");
    return 0;
}

static void share(struct player *p, const struct kb_node *line)
{
    int64_t i = kb_node_num(kb_node_get(line, "attempt"), 0);
    int64_t n = kb_node_num(kb_node_get(line, "most"), 1);
    if (i >= 0 && i < n && n <= UINT32_MAX)
        kb_sched_share(p->sched, (uint32_t)i, (uint32_t)n);
}

/* Only that it is taken counts: what was answered stands further down in the record. */
static void ask(struct player *p)
{
    struct kb_outside_ask question = {0};
    if (kb_sched_next_ask(p->sched, &question))
        kb_doc_destroy(&question.body);
    else
        differ(p, "recorded", kb_str_of("a question to a service"), "replayed",
               kb_str_of("nothing"));
}

static void take_answer(struct player *p, const struct kb_node *line, kb_val doc)
{
    int rc = (int)kb_node_num(kb_node_get(line, "rc"), 0);
    struct kb_err why = {.code = rc < 0 && rc > -KB_ERR_COUNT ? -rc : KB_EINTERNAL};
    kb_str text = kb_node_text(kb_node_get(line, "why"));
    kb_str_copy(kb_str_n(text.p, text.n < sizeof(why.text) ? text.n : sizeof(why.text) - 1),
                why.text, sizeof(why.text));
    kb_sched_answer(p->sched, (uint64_t)kb_node_num(kb_node_get(line, "attempt"), 0), doc,
                    rc < 0 || doc.p == NULL ? &why : NULL, &p->out);
    compare(p, kb_node_get(line, "wishes"));
}

static int tell(struct player *p, enum kb_sched_input_kind kind, const struct kb_node *line)
{
    kb_str key = kb_node_text(kb_node_get(line, "key"));
    int64_t rev = kb_node_num(kb_node_get(line, "rev"), 0);
    int rc = (int)kb_node_num(kb_node_get(line, "rc"), 0);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    if (kb_node_get(line, "doc"))
        doc = kb_node_doc(kb_node_get(line, "doc"));
    switch (kind) {
    case KB_SCHED_IN_TIME:
        kb_sched_time(p->sched, kb_node_num(kb_node_get(line, "now"), 0),
                      kb_node_num(kb_node_get(line, "wall"), 0));
        return 0;
    case KB_SCHED_IN_NODE_PUT:
        kb_sched_node_put(p->sched, key, kb_doc_root(doc));
        return 0;
    case KB_SCHED_IN_NODE_DEL:
        kb_sched_node_del(p->sched, key);
        return 0;
    case KB_SCHED_IN_POD_PUT:
        kb_sched_pod_put(p->sched, key, rev, kb_doc_root(doc));
        return 0;
    case KB_SCHED_IN_POD_DEL:
        kb_sched_pod_del(p->sched, key);
        return 0;
    case KB_SCHED_IN_OBJECT_PUT:
        kb_sched_object_put(p->sched, key, kb_doc_root(doc));
        return 0;
    case KB_SCHED_IN_DECIDE:
        p->replay->decisions +=
            kb_sched_decide(p->sched, (size_t)kb_node_num(kb_node_get(line, "most"), 0), &p->out);
        compare(p, kb_node_get(line, "wishes"));
        return 0;
    case KB_SCHED_IN_BIND_DONE:
        kb_sched_bind_done(p->sched, key, (uint64_t)kb_node_num(kb_node_get(line, "attempt"), 0),
                           rc, rev, &p->out);
        compare(p, kb_node_get(line, "wishes"));
        return 0;
    case KB_SCHED_IN_CONDITION_DONE:
        kb_sched_condition_done(p->sched, key, rc);
        return 0;
    case KB_SCHED_IN_EVICT_DONE:
        kb_sched_evict_done(p->sched, key, rc);
        return 0;
    case KB_SCHED_IN_SHARE:
        share(p, line);
        return 0;
    case KB_SCHED_IN_ASK:
        ask(p);
        return 0;
    case KB_SCHED_IN_ANSWER:
        take_answer(p, line, kb_doc_root(doc));
        return 0;
    default:
        return configure(p, line);
    }
}

static int play(struct player *p, const struct kb_node *line)
{
    kb_str op = kb_node_text(kb_node_get(line, "op"));
    if (kb_str_is(op, "begin"))
        return begin(p, line);
    if (p->sched == NULL)
        return wrong(p, "a record starts with the line 'begin'");
    for (int kind = KB_SCHED_IN_TIME; kind <= KB_SCHED_IN_ANSWER; kind++) {
        if (!kb_str_is(op, kb_record_ops[kind]))
            continue;
        p->replay->inputs++;
        if (check_line(p, (enum kb_sched_input_kind)kind, line) < 0)
            return -KB_EINVAL;
        return tell(p, (enum kb_sched_input_kind)kind, line);
    }
    return wrong(p, "an op that is not known here");
}

/* A line that is cut off at the end of the file: the recorder was killed. */
static int play_all(struct player *p, kb_str text)
{
    int rc = 0;
    while (rc == 0 && text.p) {
        struct kb_node *line;
        struct kb_err why = {0};
        kb_str raw = kb_str_cut(&text, '\n');
        p->line++;
        if (raw.n == 0 || text.p == NULL)
            continue;
        if (kb_json_parse(&p->arena, raw, NULL, &line, &why) < 0)
            rc = wrong(p, why.text);
        else
            rc = line->type == KB_MAP ? play(p, line) : wrong(p, "not an object");
        kb_arena_reset(&p->arena);
    }
    return rc;
}

int kb_replay_run(kb_str text, const char *name, kb_replay_resolve *resolve, void *user,
                  struct kb_replay *ret, struct kb_err *err)
{
    struct player p = {.replay = ret, .name = name, .resolve = resolve, .user = user, .err = err};
    int rc = play_all(&p, text);
    if (rc == 0 && ret->begins == 0)
        rc = kb_err_set(err, KB_EINVAL, "%s: not a record", name);
    kb_sched_destroy(&p.sched);
    kb_sched_out_finish(&p.out);
    kb_arena_finish(&p.arena);
    return rc;
}

void kb_replay_finish(struct kb_replay *replay)
{
    kb_buf_finish(&replay->report);
    *replay = (struct kb_replay){0};
}
