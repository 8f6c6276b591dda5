/* live.c - see live.h. Three parts: files (which descriptor does a name mean), application (from
 * texts to profiles at work), and the two ConfigMaps. */
#include "actors/scheduler/live.h"

#include "actors/scheduler/objects.h"
#include "actors/scheduler/policy_file.h"
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/base/rand.h"
#include "bus/loop.h"
#include "bus/model/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#define WANTED_KEY "configmaps/kube-system/kubus-scheduler"
#define STATUS_KEY "configmaps/kube-system/kubus-scheduler-status"

enum {
    WRITE_TIMEOUT_MS = 10000,
    WRITE_AGAIN_MS = 200,
    KEPT_S = 600 /* that a file stays which no configuration needs */
};

/* A file that is open. */
struct open_file {
    struct kb_link link;
    struct kb_policy_file *file;
    bool wanted;  /* by the configuration that is being tried */
    bool at_work; /* by the one that is at work */
    bool shipped;
};

struct hold {
    char *version, *why;
    bool mine; /* not in the ConfigMap yet */
};

/* One of the two ConfigMaps, as last seen. */
struct map {
    struct kb_doc *doc; /* NULL: there is none */
    int64_t rev;
};

struct kb_sched_live {
    struct kb_actor *actor;
    struct kb_loop *loop;
    struct kb_peer *store;
    struct kb_sched *sched;
    struct kb_sched_live_user user;
    struct kb_view *view;
    struct map wanted, status;
    struct kb_link files;
    struct kb_map holds; /* name → struct hold */
    char *dir;           /* of kept files */
    struct kb_rand rand;
    uint64_t serial;
    bool ready, deferred, guarded;
    int64_t looked_rev; /* of the ConfigMap that shall be */
    bool dirty;         /* what shall be, or the holds, changed */
    bool untold;        /* the ConfigMap does not say what is */
    uint64_t writing;
    struct kb_loop_timer again;
    char *config, *policies; /* at work */
    char message[KB_ERR_TEXT_BYTES];
    /* While a configuration is tried. */
    struct kb_arena arena;
    struct kb_node *versions;
    struct kb_err file_err;
};

static void schedule(struct kb_sched_live *l);

/* ---- events ---- */

static void tell(struct kb_sched_live *l, const char *type, const char *reason, const char *text)
{
    struct kb_sched_about about = {
        .ns = kb_str_of("kube-system"),
        .name = kb_str_of("kubus-scheduler"),
        .uid = kb_val_str(kb_doc_at(l->wanted.doc, "metadata.uid")),
        .rev = l->wanted.rev,
        .wall_us = kb_clock_wall_us(kb_actor_clock(l->actor)),
        .serial = ++l->serial,
        .kind = "ConfigMap",
    };
    struct kb_doc *event = kb__sched_event(&about, type, reason, text);
    if (strcmp(type, "Normal") == 0)
        kb_info("%s: %s", reason, text);
    else
        kb_warn("%s: %s", reason, text);
    l->user.event(l->user.user, &event);
    kb_doc_destroy(&event);
}

/* ---- files ---- */

static void close_file(struct kb_sched_live *l, struct open_file *f)
{
    struct kb_guard *guard = kb__core_guard(kb_sched_core(l->sched));
    uint32_t row = kb_guard_row(guard->page, f->file->policy->name, f->file->version);
    uint32_t outer = kb_guard_enter(guard, row, KB_GUARD_UNLOAD);
    kb_policy_file_close(&f->file);
    kb_guard_leave(guard, outer);
    kb_list_remove(&f->link);
    free(f);
}

/* What a configuration that was tried needs no more: of the one before when it is at work, of
 * itself when it is not. */
static void close_files(struct kb_sched_live *l, bool used)
{
    KB_LIST_EACH_SAFE(it, &l->files)
    {
        struct open_file *f = KB_CONTAINER(it, struct open_file, link);
        f->at_work = used ? f->wanted : f->at_work;
        f->wanted = false;
        if (!f->at_work)
            close_file(l, f);
    }
}

static struct open_file *find_file(struct kb_sched_live *l, const char *name, kb_str version)
{
    KB_LIST_EACH(it, &l->files)
    {
        struct open_file *f = KB_CONTAINER(it, struct open_file, link);
        if (strcmp(f->file->policy->name, name) == 0 &&
            (version.n ? kb_str_is(version, f->file->version) : f->shipped && f->wanted))
            return f;
    }
    return NULL;
}

/* `version` empty: the file is shipped. */
static struct open_file *load(struct kb_sched_live *l, const char *path, const char *name,
                              const char *version)
{
    struct kb_guard *guard = kb__core_guard(kb_sched_core(l->sched));
    struct kb_policy_file *file = NULL;
    uint32_t row = kb_guard_row(guard->page, name, version);
    uint32_t outer = kb_guard_enter(guard, row, KB_GUARD_LOAD);
    int rc = *version ? kb_policy_file_open(path, &file, &l->file_err)
                      : kb_policy_file_keep(path, l->dir, &file, &l->file_err);
    kb_guard_leave(guard, outer);
    if (rc == 0 && strcmp(file->policy->name, name) != 0)
        rc = kb_err_set(&l->file_err, KB_EINVAL, "'%s' has the policy %s, not %s", path,
                        file->policy->name, name);
    if (rc == 0 && *version && strcmp(file->version, version) != 0)
        rc = kb_err_set(&l->file_err, KB_EINVAL, "'%s' is version %s, not %s", path, file->version,
                        version);
    if (rc < 0) {
        kb_policy_file_close(&file);
        return NULL;
    }
    struct open_file *f = calloc(1, sizeof(*f));
    KB_ASSERT(f != NULL);
    f->file = file;
    f->shipped = *version == '\0';
    kb_list_push(&l->files, &f->link);
    return f;
}

/* The same shipped file twice is one. */
static struct open_file *load_shipped(struct kb_sched_live *l, const char *path, const char *name)
{
    struct open_file *f = load(l, path, name, "");
    if (f == NULL)
        return NULL;
    KB_LIST_EACH(it, &l->files)
    {
        struct open_file *other = KB_CONTAINER(it, struct open_file, link);
        if (other != f && strcmp(other->file->policy->name, name) == 0 &&
            strcmp(other->file->version, f->file->version) == 0) {
            close_file(l, f);
            return other;
        }
    }
    return f;
}

static const struct kb_policy *resolve(void *user, const char *name)
{
    struct kb_sched_live *l = user;
    const struct kb_policy *builtin = kb_policy_builtin(name);
    kb_str version = kb_node_text(kb_node_get(l->versions, name));
    if (version.n == 0 && builtin)
        return builtin;
    struct open_file *f = find_file(l, name, version);
    if (f == NULL && version.n && kb_policy_name_valid(name)) {
        char text[KB_POLICY_VERSION_BYTES] = "";
        kb_str_copy(version, text, sizeof(text));
        KB_AUTO(kb_auto_free) char *path = kb_policy_file_kept(l->dir, name, text);
        f = load(l, path, name, text);
    } else if (f == NULL && version.n == 0) {
        KB_AUTO(kb_auto_free) char *path = kb_policy_file_shipped(name);
        struct kb_err none = l->file_err;
        f = path ? load_shipped(l, path, name) : NULL;
        if (f == NULL && l->file_err.code == KB_ENOTFOUND)
            l->file_err = none; /* no such policy: that is what the parser says */
    }
    if (f == NULL)
        return NULL;
    f->wanted = true;
    return f->file->policy;
}

/* ---- holds ---- */

static void hold_free(struct hold *h)
{
    free(h->version);
    free(h->why);
    free(h);
}

static void hold_put(struct kb_sched_live *l, kb_str name, kb_str version, kb_str why, bool mine)
{
    struct hold *h = calloc(1, sizeof(*h));
    KB_ASSERT(h != NULL);
    h->version = kb_str_dup(version);
    h->why = kb_str_dup(why);
    h->mine = mine;
    struct hold *old = kb_map_put(&l->holds, name, h);
    if (old)
        hold_free(old);
}

static bool hold_is(const struct hold *h, kb_str version, kb_str why)
{
    return h && kb_str_is(version, h->version) && kb_str_is(why, h->why);
}

static void hold_mine(struct kb_sched_live *l, const char *name, const char *version,
                      const char *why)
{
    KB_AUTO(kb_auto_free) char *text = kb_strf("policy %s is held: %s", name, why);
    hold_put(l, kb_str_of(name), kb_str_of(version), kb_str_of(why), true);
    l->untold = true;
    tell(l, "Warning", "PolicyHeld", text);
    schedule(l);
}

/* The holds are those of the ConfigMap, and mine that are not there yet. */
static void read_holds(struct kb_sched_live *l)
{
    kb_str name;
    struct hold *h;
    kb_val data = kb_doc_at(l->status.doc, "data");
    for (size_t i = 0; kb_map_next(&l->holds, &i, &name, (void **)&h);) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("held." KB_STR_FMT, KB_STR_ARG(name));
        if (h->mine || kb_val_present(kb_val_getn(data, kb_str_of(key))))
            continue;
        hold_free(h);
        kb_map_del(&l->holds, name);
        l->dirty = true;
    }
    for (struct kb_iter it = kb_iter(data); kb_iter_next(&it);) {
        if (!kb_str_starts(it.key, "held."))
            continue;
        kb_str policy = kb_str_n(it.key.p + 5, it.key.n - 5), why = kb_val_str(it.val);
        kb_str version = kb_str_cut(&why, ' ');
        h = kb_map_get(&l->holds, policy);
        if (hold_is(h, version, why)) {
            h->mine = false;
            continue;
        }
        if (h && h->mine)
            continue;
        hold_put(l, policy, version, why, false);
        l->dirty = true;
    }
}

/* ---- a configuration ---- */

static const struct kb_policy_file *file_of(struct kb_sched_live *l, const struct kb_policy *policy)
{
    KB_LIST_EACH(it, &l->files)
    {
        struct open_file *f = KB_CONTAINER(it, struct open_file, link);
        if (f->file->policy == policy)
            return f->file;
    }
    return NULL;
}

static void mark_entries(struct kb_sched_live *l, struct kb_config *config)
{
    for (size_t i = 0; i < config->profiles_n; i++) {
        for (size_t k = 0; k < config->profiles[i].n; k++) {
            struct kb_profile_entry *entry = &config->profiles[i].entries[k];
            const struct kb_policy_file *file = file_of(l, entry->policy);
            const struct hold *h = kb_map_get(&l->holds, kb_str_of(entry->policy->name));
            entry->version = file ? file->version : NULL;
            if (h && strcmp(h->version, file ? file->version : "") == 0)
                entry->held = h->why;
        }
    }
}

static bool uses_files(const struct kb_sched_live *l)
{
    return !kb_list_empty(&l->files);
}

typedef int configure_fn(struct kb_sched *s, const struct kb_config *config, struct kb_err *err);

/* From the two texts to profiles, and with them to kb_sched_check or kb_sched_configure. */
static int try(struct kb_sched_live *l, kb_str config_text, kb_str policies,
               configure_fn *configure, struct kb_err *err)
{
    KB_AUTO(kb_config_finish) struct kb_config config = {0};
    kb_arena_reset(&l->arena);
    l->file_err = (struct kb_err){0};
    int rc = kb_yaml_parse_one(&l->arena, policies, NULL, &l->versions, err);
    if (rc < 0)
        return kb_err_wrap(err, "policies");
    rc = kb_config_parse(config_text, resolve, l, &config, err);
    if (rc < 0 && l->file_err.code != 0)
        kb_err_wrap(err, "%.200s", l->file_err.text);
    if (rc == 0) {
        mark_entries(l, &config);
        rc = configure(l->sched, &config, err);
    }
    return rc;
}

static int use(struct kb_sched_live *l, kb_str config, kb_str policies, struct kb_err *err)
{
    int rc = try(l, config, policies, kb_sched_configure, err);
    close_files(l, rc == 0);
    if (rc == 0 && l->guarded && uses_files(l))
        kb_watchdog_watch();
    return rc;
}

static kb_str data_of(const struct map *map, const char *key)
{
    return kb_val_str(kb_val_getn(kb_doc_at(map->doc, "data"), kb_str_of(key)));
}

static void remember(struct kb_sched_live *l, kb_str config, kb_str policies)
{
    char *a = kb_str_dup(config), *b = kb_str_dup(policies);
    free(l->config);
    free(l->policies);
    l->config = a;
    l->policies = b;
}

/* The first configuration, when the one that shall be cannot: the last that could; or else the
 * default, for pods that wait must not wait for an operator. */
static void fall_back(struct kb_sched_live *l)
{
    struct kb_err err = {0};
    kb_str config = data_of(&l->status, "config.yaml"), policies = data_of(&l->status, "policies");
    if (use(l, config, policies, &err) == 0) {
        remember(l, config, policies);
        return;
    }
    kb_warn("the last configuration cannot be used either: %s", err.text);
    int rc = use(l, (kb_str){0}, (kb_str){0}, &err);
    KB_ASSERT(rc == 0);
    remember(l, kb_str_of(""), kb_str_of(""));
}

static void refuse(struct kb_sched_live *l, const struct kb_err *err)
{
    if (strcmp(l->message, err->text) != 0)
        tell(l, "Warning", "ConfigurationRefused", err->text);
    snprintf(l->message, sizeof(l->message), "%s", err->text);
    if (!l->ready)
        fall_back(l);
}

static bool needed(void *user, const char *version)
{
    struct kb_sched_live *l = user;
    KB_LIST_EACH(it, &l->files)
    {
        if (strcmp(KB_CONTAINER(it, struct open_file, link)->file->version, version) == 0)
            return true;
    }
    return false;
}

static void sweep(struct kb_sched_live *l)
{
    int64_t now = kb_clock_wall_us(kb_actor_clock(l->actor));
    kb_policy_file_sweep(l->dir, now - (int64_t)KEPT_S * 1000000, needed, l);
}

static void apply(struct kb_sched_live *l)
{
    struct kb_err err = {0};
    kb_str config = data_of(&l->wanted, "config.yaml"), policies = data_of(&l->wanted, "policies");
    bool same = l->ready && kb_str_is(config, l->config) && kb_str_is(policies, l->policies);
    if (use(l, config, policies, &err) < 0) {
        refuse(l, &err);
    } else {
        bool news = (l->ready && !same) || l->message[0] != '\0';
        remember(l, config, policies);
        l->message[0] = '\0';
        sweep(l);
        if (news)
            tell(l, "Normal", "Configured", "the configuration is at work");
    }
    l->untold |= l->wanted.doc != NULL || l->status.doc != NULL;
    l->ready = true;
    l->user.changed(l->user.user);
}

/* ---- writing what is ---- */

static void put_data(struct kb_arena *a, struct kb_node *data, const char *key, const char *text)
{
    if (*text)
        kb_node_put(a, data, key, kb_node_cstr(a, text));
    else
        kb_node_del(data, key);
}

/* A hold of another version than that at work has had its time. */
static bool outlived(struct kb_sched_live *l, kb_str name, const struct hold *h)
{
    KB_LIST_EACH(it, &l->files)
    {
        struct open_file *f = KB_CONTAINER(it, struct open_file, link);
        if (f->at_work && kb_str_is(name, f->file->policy->name))
            return strcmp(f->file->version, h->version) != 0;
    }
    return false;
}

static void put_holds(struct kb_sched_live *l, struct kb_arena *a, struct kb_node *data)
{
    kb_str name;
    struct hold *h;
    for (size_t i = 0; kb_map_next(&l->holds, &i, &name, (void **)&h);) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("held." KB_STR_FMT, KB_STR_ARG(name));
        KB_AUTO(kb_auto_free) char *text = kb_strf("%s %s", h->version, h->why);
        put_data(a, data, key, outlived(l, name, h) ? "" : text);
    }
}

static struct kb_node *status_object(struct kb_sched_live *l, struct kb_arena *a)
{
    struct kb_node *object = kb_node_of(a, kb_doc_root(l->status.doc));
    if (object == NULL) {
        char uid[KB_UUID_BYTES], now[KB_TIME_BYTES];
        kb_rand_uuid(&l->rand, uid);
        kb_time_format(kb_clock_wall_us(kb_actor_clock(l->actor)), now);
        object = kb_node_map(a);
        kb_node_set_cstr(a, object, "apiVersion", "v1");
        kb_node_set_cstr(a, object, "kind", "ConfigMap");
        kb_node_set_cstr(a, object, "metadata.name", "kubus-scheduler-status");
        kb_node_set_cstr(a, object, "metadata.namespace", "kube-system");
        kb_node_set_cstr(a, object, "metadata.uid", uid);
        kb_node_set_cstr(a, object, "metadata.creationTimestamp", now);
    }
    struct kb_node *data = kb_node_ensure(a, object, "data");
    put_data(a, data, "config.yaml", l->config);
    put_data(a, data, "policies", l->policies);
    put_data(a, data, "message", l->message);
    put_holds(l, a, data);
    return object;
}

static void written(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_sched_live *l = user;
    (void)body;
    l->writing = 0;
    if (err == NULL)
        return;
    l->untold = true;
    kb_debug(STATUS_KEY ": %s", err->text);
    kb_loop_timer_set(l->loop, &l->again, WRITE_AGAIN_MS);
}

static void write_status(struct kb_sched_live *l)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (!l->untold || l->writing != 0)
        return;
    struct kb_node *object = status_object(l, &a);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(object);
    l->untold = false;
    if (kb_val_equal(kb_doc_root(doc), kb_doc_root(l->status.doc)))
        return;
    kb_w_map(&w);
    kb_w_karray(&w, "ops");
    kb_w_map(&w);
    kb_w_kcstr(&w, "op", "put");
    kb_w_kcstr(&w, "key", STATUS_KEY);
    kb_w_kraw(&w, "doc", kb_doc_root(doc));
    kb_w_kmap(&w, "if");
    if (l->status.doc)
        kb_w_kint(&w, "rev", l->status.rev);
    else
        kb_w_kbool(&w, "absent", true);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    l->writing = kb_call(l->store, "store.txn", kb_w_val(&w), WRITE_TIMEOUT_MS, written, l);
}

/* ---- following ---- */

static void work(void *user)
{
    struct kb_sched_live *l = user;
    l->deferred = false;
    if (!kb_view_synced(l->view))
        return;
    if (l->dirty) {
        l->dirty = false;
        apply(l);
    }
    l->looked_rev = l->wanted.rev;
    write_status(l);
}

static void schedule(struct kb_sched_live *l)
{
    if (l->deferred)
        return;
    l->deferred = true;
    kb_loop_defer(l->loop, work, l);
}

static void take(struct map *map, const struct kb_change *change)
{
    kb_doc_destroy(&map->doc);
    map->doc = change->op == KB_PUT ? kb_doc_of(change->doc) : NULL;
    map->rev = change->rev;
}

static void changed(void *user, const struct kb_change *change)
{
    struct kb_sched_live *l = user;
    if (kb_str_is(change->key, WANTED_KEY)) {
        take(&l->wanted, change);
        l->dirty |= !l->ready || l->message[0] != '\0' ||
                    !kb_str_is(data_of(&l->wanted, "config.yaml"), l->config) ||
                    !kb_str_is(data_of(&l->wanted, "policies"), l->policies);
    } else if (kb_str_is(change->key, STATUS_KEY)) {
        take(&l->status, change);
        read_holds(l);
    }
}

static void synced(void *user, int64_t rev)
{
    struct kb_sched_live *l = user;
    (void)rev;
    if (!l->ready || l->dirty || l->untold || l->looked_rev != l->wanted.rev)
        schedule(l);
}

static const struct kb_view_handlers handlers = {changed, synced};

/* ---- what the core found ---- */

void kb_sched_live_look(struct kb_sched_live *l)
{
    struct kb_core_held held;
    while (kb_core_next_held(kb_sched_core(l->sched), &held))
        hold_mine(l, held.policy, held.version ? held.version : "", held.why);
}

size_t kb_sched_live_held(const struct kb_sched_live *l)
{
    return l->holds.count;
}

/* ---- the watchdog ---- */

void kb_sched_live_guard(struct kb_sched_live *l, struct kb_guard_page *page,
                         const struct kb_watchdog_found *found)
{
    l->guarded = true;
    kb_core_guard(kb_sched_core(l->sched), page);
    if (found->blamed && found->version[0] == '\0')
        kb_error("the built-in policy %s %s", found->policy, found->why);
    else if (found->blamed)
        hold_mine(l, found->policy, found->version, found->why);
}

/* ---- life ---- */

struct kb_sched_live *kb_sched_live_new(struct kb_actor *actor, struct kb_sched *sched,
                                        const struct kb_sched_live_user *user)
{
    struct kb_sched_live *l = calloc(1, sizeof(*l));
    const char *data_dir = kb_actor_data_dir(actor);
    KB_ASSERT(l != NULL);
    l->actor = actor;
    l->loop = kb_actor_loop(actor);
    l->store = kb_actor_peer(actor, "store");
    l->sched = sched;
    l->user = *user;
    l->dir = kb_strf("%s/policies", data_dir ? data_dir : ".");
    l->dirty = true;
    l->again = (struct kb_loop_timer){.fn = work, .user = l};
    kb_list_init(&l->files);
    kb_rand_init_system(&l->rand);
    remember(l, kb_str_of(""), kb_str_of(""));
    l->view = kb_view_open(actor, "configmaps?ns=kube-system", NULL, &handlers, l);
    return l;
}

void kb_sched_live_destroy(struct kb_sched_live **l_p)
{
    struct kb_sched_live *l = *l_p;
    struct hold *h;
    if (l == NULL)
        return;
    kb_view_close(&l->view);
    kb_loop_undefer(l->loop, l);
    kb_loop_timer_stop(l->loop, &l->again);
    if (l->writing)
        kb_call_cancel(l->store, l->writing);
    KB_LIST_EACH_SAFE(it, &l->files)
    {
        struct open_file *f = KB_CONTAINER(it, struct open_file, link);
        kb_policy_file_close(&f->file);
        free(f);
    }
    for (size_t i = 0; kb_map_next(&l->holds, &i, NULL, (void **)&h);)
        hold_free(h);
    kb_map_finish(&l->holds);
    kb_doc_destroy(&l->wanted.doc);
    kb_doc_destroy(&l->status.doc);
    kb_arena_finish(&l->arena);
    free(l->dir);
    free(l->config);
    free(l->policies);
    free(l);
    *l_p = NULL;
}

bool kb_sched_live_ready(const struct kb_sched_live *l)
{
    return l->ready;
}

/* ---- calls ---- */

int kb_sched_live_check(struct kb_sched_live *l, kb_str config, kb_str policies, struct kb_err *err)
{
    int rc = try(l, config, policies, kb_sched_check, err);
    close_files(l, false);
    return rc;
}

static void describe_policy(const struct kb_profile_policy *at, struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kcstr(w, "name", at->policy->name);
    if (at->version)
        kb_w_kcstr(w, "version", at->version);
    if (at->policy->score || at->held)
        kb_w_kint(w, "weight", at->weight);
    kb_w_karray(w, "points");
    for (int point = 0; point < KB_POINTS && !at->held; point++)
        if (kb_policy_extends(at->policy, (enum kb_point)point))
            kb_w_cstr(w, kb_point_names[point]);
    kb_w_end(w);
    if (at->held)
        kb_w_kcstr(w, "held", at->held);
    kb_w_end(w);
}

void kb_sched_live_describe(struct kb_sched_live *l, struct kb_w *w)
{
    struct kb_core *core = kb_sched_core(l->sched);
    kb_w_map(w);
    kb_w_kcstr(w, "message", l->message);
    kb_w_kint(w, "rev", l->looked_rev);
    kb_w_karray(w, "profiles");
    for (uint32_t i = 0; i < kb_core_profiles(core); i++) {
        const struct kb_profile *profile = kb__core_profile(core, i);
        if (profile->name == NULL)
            continue;
        kb_w_map(w);
        kb_w_kcstr(w, "name", profile->name);
        kb_w_karray(w, "policies");
        for (uint32_t k = 0; k < profile->n; k++)
            describe_policy(&profile->at[k], w);
        kb_w_end(w);
        kb_w_end(w);
    }
    kb_w_end(w);
    kb_w_end(w);
}

int kb_sched_live_keep(struct kb_sched_live *l, const char *path, struct kb_w *w,
                       struct kb_err *err)
{
    KB_AUTO(kb_policy_file_close) struct kb_policy_file *file = NULL;
    struct kb_guard *guard = kb__core_guard(kb_sched_core(l->sched));
    kb_guard_enter(guard, kb_guard_row(guard->page, "a file", ""), KB_GUARD_LOAD);
    int rc = kb_policy_file_keep(path, l->dir, &file, err);
    kb_guard_leave(guard, 0);
    if (rc < 0)
        return rc;
    kb_w_map(w);
    kb_w_kcstr(w, "name", file->policy->name);
    kb_w_kcstr(w, "version", file->version);
    kb_w_kbool(w, "scores", file->policy->score != NULL);
    kb_w_end(w);
    return 0;
}
