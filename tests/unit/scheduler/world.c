#include "tests/unit/scheduler/world.h"

#include "bus/base/check.h"
#include "tests/lib/test.h"

#include <stdarg.h>
#include <stdlib.h>

static void new_scheduler(struct world *w, uint64_t seed)
{
    struct kb_profile_entry entries[KB_PROFILE_POLICIES];
    struct kb_err err = {0};
    size_t n = 0;
    bool sorts = false;
    for (size_t i = 0; i < w->policies_n; i++)
        sorts |= w->policies[i]->queue_sort != NULL;
    for (size_t i = 0; i < kb_profile_default_n; i++)
        if (!sorts || !kb_profile_default[i].policy->queue_sort)
            entries[n++] = kb_profile_default[i];
    for (size_t i = 0; i < w->policies_n; i++)
        entries[n++] = (struct kb_profile_entry){.policy = w->policies[i]};
    KB_CHECK_OK(kb_sched_new_with(seed, "default-scheduler", entries, n, &w->sched, &err), &err);
    kb_sched_time(w->sched, w->now, w->now * 1000);
}

void world_start_with(struct world *w, const struct kb_policy *const *policies, size_t n)
{
    *w = (struct world){.now = 1000, .policies = policies, .policies_n = n};
    kb_list_init(&w->changes);
    kb_list_init(&w->replies);
    new_scheduler(w, 1);
}

void world_start(struct world *w)
{
    world_start_with(w, NULL, 0);
}

struct kb_rand world_start_random(struct world *w, uint64_t lose)
{
    struct kb_rand rand;
    uint64_t seed = kb_test_seed();
    kb_rand_init(&rand, seed);
    world_start(w);
    kb_rand_init(&w->rand, seed + 1);
    w->lose = lose;
    return rand;
}

struct object *world_find(struct world *w, const char *key)
{
    for (int i = 0; i < w->n; i++)
        if (strcmp(w->objects[i].key, key) == 0)
            return &w->objects[i];
    KB_CHECK(w->n < (int)KB_COUNT(w->objects));
    struct object *o = &w->objects[w->n++];
    snprintf(o->key, sizeof(o->key), "%s", key);
    return o;
}

/* Takes `doc`; NULL deletes. */
void world_store(struct world *w, const char *key, struct kb_doc *doc)
{
    struct object *o = world_find(w, key);
    kb_doc_destroy(&o->doc);
    o->doc = doc;
    o->rev = ++w->rev;
    struct change *c = calloc(1, sizeof(*c));
    snprintf(c->key, sizeof(c->key), "%s", key);
    c->rev = o->rev;
    c->doc = kb_doc_ref(doc);
    kb_list_push(&w->changes, &c->link);
}

void world_store_json(struct world *w, const char *key, const char *json)
{
    world_store(w, key, kb_ptest_json(json));
}

void world_store_text(struct world *w, const char *key, const char *format, ...)
{
    char json[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(json, sizeof(json), format, args);
    va_end(args);
    KB_CHECK(n >= 0 && (size_t)n < sizeof(json));
    world_store_json(w, key, json);
}

void world_node(struct world *w, const char *name, const char *cpu)
{
    char key[64];
    snprintf(key, sizeof(key), "nodes//%s", name);
    world_store_text(
        w, key, "{'status': {'allocatable': {'cpu': '%s', 'memory': '8Gi', 'pods': '100'}}}", cpu);
}

void world_pod(struct world *w, const char *name, const char *cpu, const char *more)
{
    char key[64];
    snprintf(key, sizeof(key), "pods/x/%s", name);
    world_store_text(w, key,
                     "{'metadata': {'name': '%s', 'namespace': 'x', 'uid': 'u-%s'}, 'spec': {%s "
                     "'containers': [{'resources': {'requests': {'cpu': '%s'}}}]}}",
                     name, name, more, cpu);
}

bool world_tell_change(struct world *w)
{
    struct kb_link *link = kb_list_pop(&w->changes);
    if (link == NULL)
        return false;
    struct change *c = KB_CONTAINER(link, struct change, link);
    kb_str key = kb_str_of(c->key);
    if (kb_str_starts(key, "nodes/")) {
        if (c->doc)
            kb_sched_node_put(w->sched, key, kb_doc_root(c->doc));
        else
            kb_sched_node_del(w->sched, key);
    } else if (kb_str_starts(key, "poddisruptionbudgets.policy/")) {
        kb_sched_object_put(w->sched, key, c->doc ? kb_doc_root(c->doc) : (kb_val){0});
    } else if (c->doc) {
        kb_sched_pod_put(w->sched, key, c->rev, kb_doc_root(c->doc));
    } else {
        kb_sched_pod_del(w->sched, key);
    }
    kb_doc_destroy(&c->doc);
    free(c);
    return true;
}

bool world_tell_reply(struct world *w)
{
    struct kb_link *link = kb_list_pop(&w->replies);
    if (link == NULL)
        return false;
    struct reply *r = KB_CONTAINER(link, struct reply, link);
    if (w->lose && kb_rand_below(&w->rand, w->lose) == 0)
        r->rc = -KB_EUNAVAILABLE;
    if (r->kind == KB_SCHED_BIND)
        kb_sched_bind_done(w->sched, kb_str_of(r->key), r->attempt, r->rc, r->rev, &w->out);
    else if (r->kind == KB_SCHED_EVICT)
        kb_sched_evict_done(w->sched, kb_str_of(r->key), r->rc);
    else
        kb_sched_condition_done(w->sched, kb_str_of(r->key), r->rc);
    free(r);
    return true;
}

static bool same_uid(const struct kb_doc *pod, const struct kb_doc *patch)
{
    kb_str uid = kb_val_str(kb_doc_at(pod, "metadata.uid"));
    return pod != NULL && kb_str_eq(kb_val_str(kb_doc_at(patch, "metadata.uid")), uid);
}

static void copy_but(struct kb_w *w, kb_val map, const char *but)
{
    for (struct kb_iter it = kb_iter(map); kb_iter_next(&it);) {
        if (kb_str_is(it.key, but))
            continue;
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
}

/* As the api would: the condition, then a deletionTimestamp; what runs nowhere is gone at once. */
static void evict(struct world *world, const struct kb_sched_wish *wish)
{
    struct kb_doc *old = world_find(world, wish->key)->doc;
    world->evictions++;
    if (world->evicting)
        world->evicting(world, wish->key);
    if (!kb_val_present(kb_doc_at(old, "spec.nodeName"))) {
        world_store(world, wish->key, NULL);
        return;
    }
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    copy_but(&w, kb_doc_at(old, "metadata"), "deletionTimestamp");
    kb_w_kcstr(&w, "deletionTimestamp", "1970-01-01T00:00:30Z");
    kb_w_end(&w);
    kb_w_kraw(&w, "spec", kb_doc_at(old, "spec"));
    kb_w_kmap(&w, "status");
    copy_but(&w, kb_doc_at(old, "status"), "conditions");
    kb_w_kraw(&w, "conditions", kb_doc_at(wish->doc, "status.conditions"));
    kb_w_end(&w);
    kb_w_end(&w);
    world_store(world, wish->key, kb_w_doc(&w));
    kb_w_finish(&w);
}

bool world_end_evicted(struct world *w)
{
    bool any = false;
    for (int i = 0; i < w->n; i++) {
        if (!kb_val_present(kb_doc_at(w->objects[i].doc, "metadata.deletionTimestamp")))
            continue;
        world_store(w, w->objects[i].key, NULL);
        any = true;
    }
    return any;
}

/* Carry the wishes out, as the store would. */
void world_perform(struct world *w)
{
    for (size_t i = 0; i < w->out.n; i++) {
        struct kb_sched_wish *wish = &w->out.wishes[i];
        if (wish->kind == KB_SCHED_EVENT) {
            w->events++;
            kb_str text = kb_val_str(kb_doc_at(wish->doc, "message"));
            snprintf(w->last_event, sizeof(w->last_event), KB_STR_FMT, KB_STR_ARG(text));
            continue;
        }
        struct object *o = world_find(w, wish->key);
        struct reply *r = calloc(1, sizeof(*r));
        *r = (struct reply){.attempt = wish->attempt, .kind = wish->kind};
        snprintf(r->key, sizeof(r->key), "%s", wish->key);
        bool current =
            wish->kind == KB_SCHED_EVICT ? same_uid(o->doc, wish->doc) : o->rev == wish->rev;
        r->rc = o->doc == NULL ? -KB_ENOTFOUND : current ? 0 : -KB_ECONFLICT;
        if (w->lose && kb_rand_below(&w->rand, w->lose) == 0)
            r->rc = -KB_ETIMEOUT;
        if (r->rc == 0 && wish->kind == KB_SCHED_EVICT)
            evict(w, wish);
        else if (r->rc == 0)
            world_store(w, wish->key, KB_STEAL(wish->doc));
        r->rev = w->rev;
        kb_list_push(&w->replies, &r->link);
    }
    kb_sched_out_clear(&w->out);
}

void world_wait_ms(struct world *w, kb_ms ms)
{
    w->now += ms;
    kb_sched_time(w->sched, w->now, w->now * 1000);
}

/* Until nothing is under way and nothing is due. */
void world_settle(struct world *w)
{
    bool more = true;
    while (more) {
        more = false;
        while (world_tell_change(w))
            more = true;
        while (world_tell_reply(w))
            more = true;
        more |= kb_sched_decide(w->sched, 1000, &w->out) > 0;
        more |= kb_sched_wait_ms(w->sched) == 0;
        world_perform(w);
    }
}

void world_after(struct world *w, kb_ms ms)
{
    world_wait_ms(w, ms);
    world_settle(w);
}

void world_try_one(struct world *w, const char *cpu)
{
    world_node(w, "n1", cpu);
    world_pod(w, "p", "1", "");
    world_settle(w);
}

void world_walk(struct world *w, struct kb_rand *rand, int steps,
                void (*happens)(struct world *w, struct kb_rand *rand),
                void (*check)(struct world *w))
{
    for (int step = 0; step < steps; step++) {
        switch (kb_rand_below(rand, 9)) {
        case 0:
            happens(w, rand);
            break;
        case 1:
            world_wait_ms(w, (kb_ms)kb_rand_below(rand, 800));
            break;
        case 2:
            kb_sched_decide(w->sched, 1 + kb_rand_below(rand, 4), &w->out);
            break;
        case 3:
            world_perform(w);
            break;
        case 4:
        case 5:
            world_tell_reply(w);
            break;
        default:
            world_tell_change(w);
        }
        if (check)
            check(w);
    }
}

void world_calm(struct world *w)
{
    w->lose = 0;
    for (int i = 0; i < 20; i++) {
        world_settle(w);
        world_wait_ms(w, 11000);
    }
}

static void clear(struct world *w)
{
    struct kb_link *link;
    while ((link = kb_list_pop(&w->changes)) != NULL) {
        struct change *c = KB_CONTAINER(link, struct change, link);
        kb_doc_destroy(&c->doc);
        free(c);
    }
    while ((link = kb_list_pop(&w->replies)) != NULL)
        free(KB_CONTAINER(link, struct reply, link));
    kb_sched_out_clear(&w->out);
    kb_sched_destroy(&w->sched);
}

void world_end(struct world *w)
{
    clear(w);
    for (int i = 0; i < w->n; i++)
        kb_doc_destroy(&w->objects[i].doc);
    kb_sched_out_finish(&w->out);
}

/* Kill -9, and a new one that is told all that the store has before it decides anything. */
void world_restart(struct world *w)
{
    clear(w);
    new_scheduler(w, 2);
    for (int i = 0; i < w->n; i++) {
        struct object *o = &w->objects[i];
        if (o->doc == NULL)
            continue;
        struct change *c = calloc(1, sizeof(*c));
        snprintf(c->key, sizeof(c->key), "%s", o->key);
        c->rev = o->rev;
        c->doc = kb_doc_ref(o->doc);
        kb_list_push(&w->changes, &c->link);
    }
    while (world_tell_change(w))
        ;
}

/* The text at a path of an object; valid until the next call. */
const char *world_text_of(struct world *w, const char *key, const char *path)
{
    static char text[1024];
    kb_str_copy(kb_val_str(kb_doc_at(world_find(w, key)->doc, path)), text, sizeof(text));
    return text;
}

const char *world_where(struct world *w, const char *pod)
{
    return world_text_of(w, pod, "spec.nodeName");
}

const char *world_message(struct world *w, const char *pod)
{
    return world_text_of(w, pod, "status.conditions[0].message");
}
