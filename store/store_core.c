/* store_core.c - the order in which things happen.
 *
 *   request ──> staged in the open batch ──flush──> on the way ──poll──> durable
 *                                                                       answers, events, then the
 * next batch
 *
 * The open batch is sent off whenever none is under way: under load each batch takes all that came
 * while the one before it was on its way to the disk, and with one caller alone nothing waits for
 * anything. No timer, no linger.
 *
 * What the engine cannot take now (it is full, a declaration is under way) waits in a queue, and
 * everything that writes behind it too, so that the order of a caller's transactions is kept. Reads
 * do not wait. */
#include "store/store_int.h"

#include <stdlib.h>

enum { BEAT_MS = 2000, EXPIRE_AT_ONCE = 256, EXPIRY_LOOK_MS = 60000 };

struct kb__queued {
    enum kb_store_method method;
    void *token;
    kb_val body;
    struct kb__queued *next;
};

struct kb_store_core *kb_store_core_new(const struct kb_store_config *config,
                                        struct kb_engine *engine)
{
    struct kb_store_core *core = calloc(1, sizeof(*core));
    KB_ASSERT(core != NULL);
    core->config = *config;
    core->engine = engine;
    core->views = kb_views_new();
    core->answers_end = &core->answers;
    core->greets_end = &core->greets;
    core->waits_end = &core->waits;
    core->queue_end = &core->queue;
    core->look_expiry = true;
    return core;
}

void kb_store_core_destroy(struct kb_store_core **core_p)
{
    struct kb_store_core *core = KB_STEAL(*core_p);
    kb_str name;
    void *value;
    if (core == NULL)
        return;
    kb__answers_finish(core);
    while (core->queue) {
        struct kb__queued *q = core->queue;
        core->queue = q->next;
        free(q);
    }
    for (size_t i = 0; kb_map_next(&core->lease_times, &i, &name, &value);)
        free(value);
    kb_map_finish(&core->lease_times);
    kb_views_destroy(&core->views);
    kb_w_finish(&core->w);
    free(core);
}

/* ---- requests ---- */

typedef bool write_fn(struct kb_store_core *core, void *token, kb_val body);
typedef void read_fn(struct kb_store_core *core, void *token, kb_val body);

static write_fn *const writes[KB_STORE_METHODS] = {
    [KB_STORE_TXN] = kb__txn,         [KB_STORE_DECLARE] = kb__declare,
    [KB_STORE_COMPACT] = kb__compact, [KB_STORE_CHECK] = kb__check,
    [KB_LEASE_ACQUIRE] = kb__acquire, [KB_LEASE_RELEASE] = kb__release,
};

static read_fn *const reads[KB_STORE_METHODS] = {
    [KB_STORE_GET] = kb__get,       [KB_STORE_LIST] = kb__list,     [KB_STORE_REPLAY] = kb__replay,
    [KB_STORE_STATUS] = kb__status, [KB_STORE_BACKUP] = kb__backup, [KB_LEASE_RENEW] = kb__renew,
};

void kb_store_core_request(struct kb_store_core *core, enum kb_store_method method, void *token,
                           kb_val body, struct kb_store_time time)
{
    core->time = time;
    if (reads[method]) {
        reads[method](core, token, body);
        return;
    }
    if (core->queue == NULL && writes[method](core, token, body))
        return;
    struct kb__queued *q = calloc(1, sizeof(*q));
    KB_ASSERT(q != NULL);
    *q = (struct kb__queued){.method = method, .token = token, .body = body};
    *core->queue_end = q;
    core->queue_end = &q->next;
}

static void work_queue(struct kb_store_core *core)
{
    while (core->queue) {
        struct kb__queued *q = core->queue;
        if (!writes[q->method](core, q->token, q->body))
            return;
        core->queue = q->next;
        if (core->queue == NULL)
            core->queue_end = &core->queue;
        free(q);
    }
}

bool kb_store_core_idle(const struct kb_store_core *core)
{
    return core->queue == NULL && core->waits == NULL && !kb_engine_busy(core->engine);
}

/* ---- views ---- */

void kb_store_core_subscribe(struct kb_store_core *core, kb_str topic, bool on)
{
    struct kb_err err;
    if (topic.n == 0 || topic.p[topic.n - 1] != '\0')
        return; /* no view's topic */
    topic.n--;
    if (!on) {
        kb_views_remove(core->views, topic);
        return;
    }
    if (kb_views_add(core->views, topic, kb_engine_indices(core->engine),
                     kb_engine_rev(core->engine), &err) == 0)
        kb__greet(core, topic);
}

static void publish(struct kb_store_core *core, const struct kb_commit *commit)
{
    for (size_t i = 0; i < commit->changes; i++) {
        struct kb_item item = kb_commit_change(commit, i), old = {0};
        struct kb_err err;
        kb_str rest = item.key, resource = kb_str_cut(&rest, '/');
        enum kb_views_need need = kb_views_need(core->views, resource);
        if (need == KB_VIEWS_NOTHING)
            continue;
        struct kb_views_change change = {.key = item.key, .rev = item.id.rev, .doc = item.doc};
        if (!item.created && (need == KB_VIEWS_OLD || item.deleted) &&
            kb_engine_version(core->engine, item.prev, &old, &err) == 0)
            change.old = old.doc;
        kb_views_change(core->views, &change);
    }
}

/* ---- time ---- */

static bool due(kb_ms *at, kb_ms now)
{
    if (*at == 0 || *at > now)
        return false;
    *at = 0;
    return true;
}

/* Objects whose time has come: stage their deletion, and plan the next look. */
static void expire(struct kb_store_core *core)
{
    struct kb_err err;
    kb_ms now = core->time.now_ms;
    if (!core->look_expiry && !due(&core->expire_ms, now))
        return;
    int n = kb_engine_expire(core->engine, core->time.wall_ms, EXPIRE_AT_ONCE, &err);
    int64_t next = kb_engine_next_expiry(core->engine);
    core->look_expiry = false;
    core->expire_ms = 0;
    if (n < 0 || n == EXPIRE_AT_ONCE) {
        core->expire_ms = now + (n < 0 ? 1000 : 1);
    } else if (next) {
        int64_t wait = next - core->time.wall_ms; /* the wall clock may jump: look now and then */
        core->expire_ms = now + (wait < 1 ? 1 : wait > EXPIRY_LOOK_MS ? EXPIRY_LOOK_MS : wait);
    }
}

static uint64_t uncompacted(const struct kb_store_core *core)
{
    uint64_t done = kb_engine_compacted(core->engine);
    return core->compacting > done ? core->compacting : done;
}

/* Note where the store is now, and compact up to where it was so long ago. */
static void age(struct kb_store_core *core)
{
    struct kb_err err;
    kb_ms now = core->time.now_ms, keep = core->config.history_s * 1000;
    uint64_t rev = kb_engine_rev(core->engine);
    struct kb__sample *s = core->samples;
    size_t n = core->samples_n;
    if (keep <= 0)
        return;
    size_t old = 0;
    while (old < n && now - s[old].at_ms >= keep)
        old++;
    if (old > 0) {
        if (kb_engine_compact(core->engine, s[old - 1].rev, &err) > 0)
            core->compacting = s[old - 1].rev;
        memmove(s, s + old, (n - old) * sizeof(*s));
        n -= old;
    }
    bool news = rev > uncompacted(core) && (n == 0 || s[n - 1].rev != rev);
    if (news && n < KB__SAMPLES && (n == 0 || now - s[n - 1].at_ms >= keep / (KB__SAMPLES - 2)))
        s[n++] = (struct kb__sample){now, rev};
    core->samples_n = n;
}

static void sooner(kb_ms *wait, kb_ms until, kb_ms now)
{
    kb_ms left = until - now < 0 ? 0 : until - now;
    if (until && (*wait < 0 || left < *wait))
        *wait = left;
}

/* When compaction has to be looked at again. */
static kb_ms age_next(const struct kb_store_core *core)
{
    kb_ms keep = core->config.history_s * 1000, now = core->time.now_ms;
    const struct kb__sample *s = core->samples;
    size_t n = core->samples_n;
    if (keep <= 0)
        return 0;
    uint64_t rev = kb_engine_rev(core->engine);
    bool news = n ? s[n - 1].rev != rev : rev > uncompacted(core);
    kb_ms next = n ? s[0].at_ms + keep : 0;
    if (news && n < KB__SAMPLES) {
        kb_ms sample = n ? s[n - 1].at_ms + keep / (KB__SAMPLES - 2) : now + 1;
        if (next == 0 || sample < next)
            next = sample;
    }
    return next;
}

/* ---- a step ---- */

static void take_backup(struct kb_store_core *core)
{
    int rc;
    uint64_t rev, bytes;
    struct kb_err err;
    if (core->backup == NULL || !kb_engine_backup_done(core->engine, &rc, &rev, &bytes, &err))
        return;
    void *token = KB_STEAL(core->backup);
    if (rc < 0) {
        kb__fail(core, token, &err, (kb_val){NULL, NULL});
        return;
    }
    kb_w_map(&core->w);
    kb_w_kint(&core->w, "rev", (int64_t)rev);
    kb_w_kint(&core->w, "bytes", (int64_t)bytes);
    kb_w_end(&core->w);
    kb__reply(core, token);
}

struct problems {
    struct kb_w *w;
    size_t n;
};

static void add_problem(void *user, const char *text)
{
    enum { MANY = 1000 };
    struct problems *problems = user;
    if (problems->n++ < MANY)
        kb_w_cstr(problems->w, text);
}

static void take_check(struct kb_store_core *core)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct problems problems = {.w = &w};
    struct kb_err err;
    int rc;
    if (core->check == NULL)
        return;
    kb_w_map(&w);
    kb_w_karray(&w, "problems");
    if (!kb_engine_check_done(core->engine, add_problem, &problems, &rc, &err))
        return;
    kb_w_end(&w);
    kb_w_end(&w);
    void *token = KB_STEAL(core->check);
    if (rc < 0) {
        kb__fail(core, token, &err, (kb_val){NULL, NULL});
        return;
    }
    kb_w_raw(&core->w, kb_w_val(&w));
    kb__reply(core, token);
}

static void take_commits(struct kb_store_core *core)
{
    struct kb_commit commit;
    while (kb_engine_poll(core->engine, &commit)) {
        kb__wait_end(core, &commit);
        if (commit.rc == 0)
            publish(core, &commit);
        else
            core->look_expiry = true; /* what was to be deleted is not */
        if (commit.declared)
            kb_views_redeclare(core->views, kb_engine_indices(core->engine),
                               kb_engine_rev(core->engine));
        work_queue(core);
        kb_engine_flush(core->engine);
    }
}

static void beat_when_due(struct kb_store_core *core)
{
    kb_ms now = core->time.now_ms;
    if (kb_views_count(core->views) == 0) {
        core->beat_ms = 0;
        return;
    }
    if (due(&core->beat_ms, now)) {
        core->beating = true;
        core->beat_at = 0;
    }
    if (core->beat_ms == 0)
        core->beat_ms = now + BEAT_MS;
}

kb_ms kb_store_core_step(struct kb_store_core *core, struct kb_store_time time)
{
    core->time = time;
    kb_engine_tick(core->engine, time.now_ms);
    take_commits(core);
    take_backup(core);
    work_queue(core);
    take_check(core);
    expire(core);
    age(core);
    kb_engine_flush(core->engine);
    if (kb_engine_fd(core->engine) < 0)
        take_commits(core); /* no thread will tell */
    beat_when_due(core);
    kb_ms wait = kb_engine_tick(core->engine, time.now_ms);
    if (wait < 0 && core->queue)
        wait = 1000;
    sooner(&wait, core->beat_ms, time.now_ms);
    sooner(&wait, core->expire_ms, time.now_ms);
    sooner(&wait, age_next(core), time.now_ms);
    return wait;
}
