/* core.c - runs: a key is taken from the queue, reconciled, its wishes are sent and answered, and
 * it is given back once the cache shows what they did.
 *
 * WHY this is exact, where others count expectations: the store has one revision. An answer says
 * at which revision the write happened; a view says up to which revision it has delivered. A run
 * ends when every view of every resource that it wrote has reached the revision of its last write.
 * An answer that carries the object is put into the cache at once, so that most runs end with it.
 *
 * When a write's outcome is unknown (the service went away), a new epoch of the controller's lease
 * is acquired. The store refuses what carries an older one, so of all that is still under way
 * somewhere nothing comes true any more; and once the cache has seen the revision at which the
 * epoch began, it shows what did. The same is done at start, for the writes of the process before
 * this one. Rejected: asking for the store's revision alone. A write may arrive after the answer,
 * and then a pod is made twice. */
#include "actors/runtime/core_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- registry of kinds ---- */

const struct kb_resource_info *kb__info(const kb_controller *c, const char *resource)
{
    for (const struct kb_resource_info *info = c->resources; info && info->resource; info++)
        if (strcmp(info->resource, resource) == 0)
            return info;
    return NULL;
}

const char *kb__intern(kb_controller *c, kb_str text)
{
    char *name = kb_map_get(&c->names, text);
    if (name == NULL) {
        name = kb_str_dup(text);
        kb_map_put(&c->names, text, name);
    }
    return name;
}

bool kb_resource_info(kb_controller *c, const char *resource, struct kb_resource_info *ret)
{
    const struct kb_resource_info *info = kb__info(c, resource);
    if (info)
        *ret = *info;
    return info != NULL;
}

const char *kb_resource_of(kb_controller *c, kb_str api_version, kb_str kind)
{
    for (const struct kb_resource_info *info = c->resources; info && info->resource; info++)
        if (kb_str_is(api_version, info->api_version) && kb_str_is(kind, info->kind))
            return info->resource;
    return NULL;
}

const char *const *kb_resources(kb_controller *c)
{
    return c->resource_names;
}

/* ---- life ---- */

static int plugin_take(kb_controller *c, const struct kb_plugin *p, struct kb_err *err)
{
    if (p->abi != KB_PLUGIN_ABI)
        return kb_err_set(err, KB_EINVAL, "the plugin was built for ABI %u, this is %u", p->abi,
                          KB_PLUGIN_ABI);
    if (p->size > sizeof(c->plugin))
        return kb_err_set(err, KB_EINVAL, "the plugin was built for a newer Kubus");
    memcpy(&c->plugin, p, p->size);
    if (c->plugin.name == NULL || c->plugin.reconcile == NULL)
        return kb_err_set(err, KB_EINVAL, "the plugin has no name or no reconcile function");
    return 0;
}

static void resources_take(kb_controller *c, const struct kb_resource_info *resources)
{
    size_t count = 0;
    while (resources && resources[count].resource)
        count++;
    c->resources = resources;
    c->resource_names = calloc(count + 1, sizeof(*c->resource_names));
    KB_ASSERT(c->resource_names != NULL);
    for (size_t i = 0, n = 0; i < count; i++)
        if (strcmp(resources[i].resource, "events") != 0) /* many, and nobody's owners */
            c->resource_names[n++] = resources[i].resource;
}

int kb_core_new(const struct kb_core_config *config, kb_controller **ret_core, struct kb_err *err)
{
    KB_AUTO(kb_core_destroy) kb_controller *c = calloc(1, sizeof(*c));
    KB_ASSERT(c != NULL);
    c->magic = CORE_MAGIC;
    kb_list_init(&c->sources);
    kb_list_init(&c->unwanted);
    kb_list_init(&c->runs);
    kb_list_init(&c->outbox);
    kb_queue_init(&c->queue);
    kb_events_init(&c->events);
    kb_rand_init(&c->rand, config->seed);
    kb_fence_init(&c->fence, config->lease);
    resources_take(c, config->resources);
    int rc = plugin_take(c, config->plugin, err);
    if (rc == 0)
        rc = kb__sources_make(c, err);
    if (rc == 0 && c->plugin.start)
        rc = c->plugin.start(c, &c->user, err);
    if (rc < 0) {
        c->plugin.stop = NULL;
        return rc;
    }
    *ret_core = KB_STEAL(c);
    return 0;
}

static void sources_free(struct kb_link *sources)
{
    KB_LIST_EACH_SAFE(link, sources)
    {
        kb__source_free(KB_CONTAINER(link, struct source, link));
    }
}

static void run_free(struct run *run)
{
    KB_LIST_EACH_SAFE(link, &run->wishes)
    {
        kb__wish_free(KB_CONTAINER(link, struct kb_wish, run_link));
    }
    kb_list_remove(&run->link);
    free(run);
}

void kb_core_destroy(kb_controller **core_p)
{
    kb_controller *c = KB_STEAL(*core_p);
    if (c == NULL)
        return;
    if (c->plugin.stop)
        c->plugin.stop(c->user);
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&c->calls, &i, &key, &value);)
        if (((struct kb_wish *)value)->run == NULL)
            kb__wish_free(value); /* events that were sent: no other list has them */
    KB_LIST_EACH_SAFE(link, &c->runs)
    {
        run_free(KB_CONTAINER(link, struct run, link));
    }
    KB_LIST_EACH_SAFE(out, &c->outbox)
    {
        kb__wish_free(KB_CONTAINER(out, struct kb_wish, link));
    }
    kb_map_finish(&c->calls);
    for (size_t i = 0; kb_map_next(&c->failures, &i, &key, &value);)
        free(value);
    kb_map_finish(&c->failures);
    sources_free(&c->sources);
    sources_free(&c->unwanted);
    kb_queue_finish(&c->queue);
    kb_events_finish(&c->events);
    kb_arena_finish(&c->arena);
    for (size_t i = 0; kb_map_next(&c->names, &i, &key, &value);)
        free(value);
    kb_map_finish(&c->names);
    kb_map_finish(&c->refused);
    free(c->resource_names);
    kb_fence_finish(&c->fence);
    free(c->views);
    free(c);
}

void kb_core_time(kb_controller *core, kb_ms now_ms, int64_t wall_us)
{
    KB_CHECK_OBJ(core, CORE_MAGIC);
    core->now_ms = now_ms;
    core->wall_us = wall_us;
}

struct kb_core_stats kb_core_stats(const kb_controller *core)
{
    struct kb_core_stats stats = core->stats;
    stats.ready = core->queue.ready_count;
    stats.working = core->queue.working_count;
    KB_LIST_EACH(link, &core->sources)
    {
        const struct source *src = KB_CONTAINER(link, struct source, link);
        stats.objects += kb_cache_count(&src->cache);
        stats.bytes += src->cache.bytes;
    }
    return stats;
}

/* ---- context ---- */

void *kb_user(kb_controller *c)
{
    return c->user;
}

struct kb_arena *kb_arena(kb_controller *c)
{
    return &c->arena;
}

struct kb_rand *kb_rand(kb_controller *c)
{
    return &c->rand;
}

int64_t kb_now_us(kb_controller *c)
{
    return c->wall_us;
}

kb_ms kb_now_ms(kb_controller *c)
{
    return c->now_ms;
}

const struct kb_err *kb_failure(kb_controller *c, const char *tag)
{
    for (size_t i = 0; c->current_failures && i < c->current_failures->count; i++)
        if (strcmp(c->current_failures->items[i].tag, tag) == 0)
            return &c->current_failures->items[i].err;
    return NULL;
}

void kb_requeue(kb_controller *c, kb_ms after_ms)
{
    KB_ASSERT(c->current != NULL);
    kb_queue_add_at(&c->queue, kb_str_n(c->current->key, c->current->n),
                    c->now_ms + (after_ms > 0 ? after_ms : 0));
}

void kb_enqueue_key(kb_controller *c, kb_key key)
{
    char text[KB_KEY_MAX_BYTES + 1];
    if (kb_key_format(key, text, sizeof(text)))
        kb_queue_add(&c->queue, kb_str_of(text));
}

void kb_enqueue(kb_controller *c, kb_str ns, kb_str name)
{
    kb_enqueue_key(c, (kb_key){kb_str_of(c->plugin.primary), ns, name});
}

/* ---- runs ---- */

static bool views_reached(const kb_controller *c, const char *resource, int64_t rev)
{
    KB_LIST_EACH(link, &c->sources)
    {
        const struct source *src = KB_CONTAINER(link, struct source, link);
        bool asked = resource == NULL || strcmp(src->cache.resource, resource) == 0;
        if (src->rev < rev && asked && kb__source_wanted(c, src))
            return false;
    }
    return true;
}

static bool run_seen(const kb_controller *c, const struct run *run)
{
    for (size_t i = 0; i < run->nneeds; i++)
        if (!views_reached(c, run->needs[i].resource, run->needs[i].rev))
            return false;
    return run->need_all == 0 || views_reached(c, NULL, run->need_all);
}

static void need_all(struct run *run, int64_t rev)
{
    run->need_all = rev > run->need_all ? rev : run->need_all;
}

static void run_need(struct run *run, const char *resource, int64_t rev)
{
    for (size_t i = 0; i < run->nneeds; i++)
        if (strcmp(run->needs[i].resource, resource) == 0) {
            if (rev > run->needs[i].rev)
                run->needs[i].rev = rev;
            return;
        }
    if (run->nneeds == RUN_NEEDS_MAX) {
        need_all(run, rev);
        return;
    }
    run->needs[run->nneeds].resource = resource;
    run->needs[run->nneeds++].rev = rev;
}

/* Keep what failed for the next run, and drop what failed in the one before. */
static void run_remember(kb_controller *c, const struct run *run)
{
    kb_str key = kb_str_n(run->key, run->n);
    if (run->failures.count == 0) {
        free(kb_map_del(&c->failures, key));
        return;
    }
    struct failures *kept = malloc(sizeof(*kept));
    KB_ASSERT(kept != NULL);
    *kept = run->failures;
    free(kb_map_put(&c->failures, key, kept));
}

static void run_finish(kb_controller *c, struct run *run)
{
    kb_str key = kb_str_n(run->key, run->n);
    uint32_t before = kb_queue_failures(&c->queue, key);
    run_remember(c, run);
    kb_queue_done(&c->queue, key);
    if (run->failed) {
        c->stats.failures++;
        kb_queue_add_failed(&c->queue, key, c->now_ms);
    } else if (run->conflict && before == 0) {
        kb_queue_add_failed(&c->queue, key, c->now_ms); /* counts, so that a lasting one slows */
        kb_queue_add(&c->queue, key);
    } else if (run->conflict) {
        kb_queue_add_failed(&c->queue, key, c->now_ms);
    } else {
        kb_queue_forget(&c->queue, key);
    }
    run_free(run);
}

void kb__runs_settle(kb_controller *c)
{
    KB_LIST_EACH_SAFE(link, &c->runs)
    {
        struct run *run = KB_CONTAINER(link, struct run, link);
        if (run != c->current && run->open == 0 && !run->uncertain && run_seen(c, run))
            run_finish(c, run);
    }
}

static void resync(kb_controller *c)
{
    if (c->plugin.resync_ms <= 0 || c->now_ms < c->next_resync_ms)
        return;
    c->next_resync_ms = c->now_ms + c->plugin.resync_ms;
    KB_LIST_EACH(link, &c->sources)
    {
        const struct source *src = KB_CONTAINER(link, struct source, link);
        kb_str key;
        void *value;
        if (src->primary)
            for (size_t i = 0; kb_map_next(&src->cache.objects, &i, &key, &value);)
                kb_queue_add(&c->queue, key);
    }
}

static struct run *run_new(kb_controller *c, kb_str key)
{
    struct run *run = calloc(1, sizeof(*run) + key.n);
    KB_ASSERT(run != NULL);
    kb_list_init(&run->wishes);
    kb_list_push(&c->runs, &run->link);
    run->n = key.n;
    memcpy(run->key, key.p, key.n);
    return run;
}

/* The first run comes when the cache shows all that processes before this one have done. */
static void begin(kb_controller *c)
{
    c->begun = c->begun ||
               (c->fence.epoch && kb__sources_listed(c) && views_reached(c, NULL, c->past_rev));
}

bool kb_core_ready(const kb_controller *core)
{
    return core->begun && kb__sources_listed(core);
}

bool kb_core_run(kb_controller *core)
{
    kb_str text;
    kb_key key;
    KB_CHECK_OBJ(core, CORE_MAGIC);
    begin(core);
    if (!kb_core_ready(core) || core->queue.working_count >= CORE_RUNS_MAX)
        return false;
    resync(core);
    if (!kb_queue_take(&core->queue, core->now_ms, &text))
        return false;
    struct run *run = run_new(core, text);
    core->current = run;
    core->current_failures = kb_map_get(&core->failures, text);
    core->run_seq++;
    core->stats.runs++;
    if (kb_key_parse(kb_str_n(run->key, run->n), &key, NULL) == 0 &&
        core->plugin.reconcile(core, key) < 0)
        run->failed = true;
    core->current = NULL;
    core->current_failures = NULL;
    kb__sources_forget(core, kb_str_n(run->key, run->n));
    kb_arena_reset(&core->arena);
    kb__runs_settle(core);
    return true;
}

static kb_ms sooner(kb_ms a, kb_ms b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

kb_ms kb_core_wait_ms(const kb_controller *core)
{
    kb_ms wait = kb_fence_wait_ms(&core->fence, core->now_ms);
    if (!kb_core_ready(core) || core->queue.working_count >= CORE_RUNS_MAX)
        return wait;
    wait = sooner(wait, kb_queue_wait_ms(&core->queue, core->now_ms));
    if (core->plugin.resync_ms > 0)
        wait = sooner(
            wait, core->next_resync_ms > core->now_ms ? core->next_resync_ms - core->now_ms : 0);
    return wait;
}

/* ---- calls ---- */

static kb_str id_key(const uint64_t *id)
{
    return kb_str_n((const char *)id, sizeof(*id));
}

static void event_answered(kb_controller *c, const struct kb_wish *wish, const struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *patch;
    bool gone = err && (wish->kind == WISH_CREATE || err->code == KB_ENOTFOUND);
    c->event_wishes--;
    if (kb_events_answered(&c->events, kb_str_of(wish->name), gone, &a, &patch) == KB_EVENT_PATCH)
        kb__event_write(c, WISH_PATCH, kb_str_of(wish->ns), kb_str_of(wish->name), patch);
}

/* What was written becomes visible at once where the view has not delivered it yet. */
static void write_through(kb_controller *c, const struct kb_wish *wish, kb_str key, int64_t rev,
                          kb_val doc)
{
    bool seen = true;
    KB_LIST_EACH(link, &c->sources)
    {
        struct source *src = KB_CONTAINER(link, struct source, link);
        if (strcmp(src->cache.resource, wish->resource) != 0 || src->rev >= rev)
            continue;
        if (src->partial || !src->listed || wish->kind == WISH_DELETE || kb_val_type(doc) != KB_MAP)
            seen = false;
        else
            kb__source_change(c, src, false, key, rev, doc);
    }
    if (!seen)
        run_need(wish->run, wish->resource, rev);
}

static void wish_succeeded(kb_controller *c, const struct kb_wish *wish, kb_val body)
{
    kb_str key = kb_val_str(kb_val_get(body, "key"));
    kb_key parts = {0};
    int64_t rev = kb_val_int(kb_val_get(body, "rev"), 0);
    kb_key_parse(key, &parts, NULL);
    kb__wish_tell(c, wish, NULL, parts.name.n ? parts.name : kb_str_of(wish->name));
    /* Once the view is in the middle of its history, a removal of finalizers may have removed the
     * object: then there is no object to put in. */
    kb_val doc = kb_val_get(body, "doc");
    if (kb_meta_deleting(doc) && kb_val_count(kb_val_at(doc, "metadata.finalizers")) == 0)
        doc = (kb_val){NULL, NULL};
    write_through(c, wish, key, rev, doc);
}

/* Wishes with the tag of one that failed would fail as well: those not yet sent are dropped. */
static void drop_alike(struct run *run, const char *tag)
{
    KB_LIST_EACH_SAFE(link, &run->wishes)
    {
        struct kb_wish *wish = KB_CONTAINER(link, struct kb_wish, run_link);
        if (wish->id != 0 || wish->tag == NULL || strcmp(wish->tag, tag) != 0)
            continue;
        run->open--;
        kb__wish_free(wish);
    }
}

/* Whether a write was, or will be, carried out is seen at the revision of an epoch after its own.
 */
static void doubt(kb_controller *c, struct run *run, int64_t epoch)
{
    if (kb_fence_doubt(&c->fence, epoch, c->now_ms))
        run->uncertain = true;
    else
        need_all(run, c->fence.rev);
}

static void wish_failed(kb_controller *c, const struct kb_wish *wish, const struct kb_err *err,
                        kb_val body)
{
    struct run *run = wish->run;
    if (kb_val_bool(kb_val_get(body, "fenced"), false))
        (void)kb_fence_doubt(&c->fence, wish->epoch, c->now_ms);
    bool gone = err->code == KB_ENOTFOUND && wish->kind != WISH_CREATE;
    if (gone)
        return; /* what was to be changed or deleted is not there: so be it */
    if (err->code == KB_ECONFLICT) {
        c->stats.conflicts++;
        run->conflict = true;
        return;
    }
    run->failed = true;
    if (err->code == KB_ETIMEOUT || err->code == KB_EUNAVAILABLE)
        doubt(c, run, wish->epoch);
    kb__wish_tell(c, wish, err, kb_str_of(""));
    if (wish->tag == NULL)
        return;
    drop_alike(run, wish->tag);
    for (size_t i = 0; i < run->failures.count; i++)
        if (strcmp(run->failures.items[i].tag, wish->tag) == 0)
            return;
    if (run->failures.count < RUN_FAILURES_MAX)
        run->failures.items[run->failures.count++] = (struct failure){wish->tag, *err};
}

/* ---- what a plugin may write ---- */

/* "pods", "pods/status", or "*": all objects, but no subresource. */
static bool covers(const char *declared, const struct kb_wish *wish)
{
    size_t n = strlen(wish->resource);
    const char *sub = wish->subresource ? wish->subresource : "";
    if (strcmp(declared, "*") == 0)
        return sub[0] == '\0';
    return strncmp(declared, wish->resource, n) == 0 &&
           (declared[n] == '/' ? sub[0] && strcmp(declared + n + 1, sub) == 0
                               : declared[n] == '\0' && sub[0] == '\0');
}

/* Events tell what a controller does, and are the runtime's own: nobody declares them. */
static bool may_write(const kb_controller *c, const struct kb_wish *wish)
{
    if (wish->run == NULL)
        return true;
    for (size_t i = 0; i < KB_PLUGIN_LIST_MAX && c->plugin.writes[i]; i++)
        if (covers(c->plugin.writes[i], wish))
            return true;
    return false;
}

/* It fails as one that the API refuses; the shell is told once of each resource. */
static void wish_refuse(kb_controller *c, struct kb_wish *wish)
{
    struct kb_err err = {0};
    char what[96];
    snprintf(what, sizeof(what), "%s%s%s", wish->resource, wish->subresource ? "/" : "",
             wish->subresource ? wish->subresource : "");
    kb_err_set(&err, KB_EFORBIDDEN, "%s may not write %s: it is not among its descriptor's writes",
               c->plugin.name, what);
    if (c->refusal.code == 0 && kb_map_get(&c->refused, kb_str_of(what)) == NULL) {
        kb_map_put(&c->refused, kb_str_of(what), (void *)c->plugin.name);
        c->refusal = err;
    }
    wish->run->open--;
    kb_list_remove(&wish->run_link);
    wish_failed(c, wish, &err, (kb_val){NULL, NULL});
    kb__wish_free(wish);
    kb__runs_settle(c);
}

bool kb_core_refusal(kb_controller *core, struct kb_err *ret_err)
{
    if (core->refusal.code == 0)
        return false;
    *ret_err = core->refusal;
    core->refusal = (struct kb_err){0};
    return true;
}

bool kb_core_next_call(kb_controller *core, struct kb_core_call *ret_call)
{
    for (struct kb_link *link; kb_fence_holds(&core->fence) && core->calls.count < CORE_CALLS_MAX &&
                               (link = kb_list_pop(&core->outbox)) != NULL;) {
        struct kb_wish *wish = KB_CONTAINER(link, struct kb_wish, link);
        if (!may_write(core, wish)) {
            wish_refuse(core, wish);
            continue;
        }
        wish->id = ++core->next_id;
        kb__wish_encode(core, wish);
        kb_map_put(&core->calls, id_key(&wish->id), wish);
        core->stats.wishes++;
        *ret_call = (struct kb_core_call){wish->id, kb__wish_method(wish), kb_doc_root(wish->body)};
        return true;
    }
    return false;
}

void kb_core_answer(kb_controller *core, uint64_t id, const struct kb_err *err, kb_val body)
{
    struct kb_wish *wish = kb_map_del(&core->calls, id_key(&id));
    if (wish == NULL)
        return;
    if (wish->run == NULL) {
        event_answered(core, wish, err);
        kb__wish_free(wish);
        return;
    }
    wish->run->open--;
    kb_list_remove(&wish->run_link);
    if (err)
        wish_failed(core, wish, err, body);
    else
        wish_succeeded(core, wish, body);
    kb__wish_free(wish);
    kb__runs_settle(core);
}

bool kb_core_ask_epoch(kb_controller *core, const char *holder, struct kb_w *body)
{
    return kb_fence_ask(&core->fence, core->now_ms, holder, body);
}

bool kb_core_epoch(kb_controller *core, const struct kb_err *err, kb_val body)
{
    bool first = core->fence.epoch == 0;
    if (!kb_fence_answer(&core->fence, err, body, core->now_ms))
        return false;
    if (first)
        core->past_rev = core->fence.rev;
    KB_LIST_EACH(link, &core->runs)
    {
        struct run *run = KB_CONTAINER(link, struct run, link);
        if (!run->uncertain)
            continue;
        run->uncertain = false;
        need_all(run, core->fence.rev);
    }
    kb__runs_settle(core);
    return true;
}
