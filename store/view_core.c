/* view_core.c - who sees which change.
 *
 *   resource ──> shapes ──> views by their values
 *
 * For a change, each shape of the resource takes the values of the object before and after. The
 * same values: the view with them gets a put. Different ones: the view of the old gets a del, that
 * of the new a put. A view that is touched stands in a list until the batch's events have been
 * taken.
 *
 * Rejected: matching each view's query against each change (10,000 agents make every pod cost
 * 10,000 matches), and publishing everything on one topic for subscribers to filter (the same cost,
 * at the subscribers). */
#include "store/view_core.h"

#include "bus/base/check.h"

#include <stdlib.h>

enum { BODY_KEEP_BYTES = 256 * 1024, SPELLINGS_MAX = 100 };

struct shape;

struct view {
    char *topic; /* with a NUL behind: the topic frame */
    size_t topic_n;
    struct kb_query query;
    struct shape *shape; /* NULL: the query is not valid (yet) */
    uint64_t last_rev;
    struct kb_w body; /* open while it has changes of this batch */
    uint64_t batch_rev;
    struct view *next_touched;
    bool touched;
    bool lost; /* this batch's event would be too large */
};

struct shape {
    char *name;
    struct kb_map views;    /* values → view; all have this shape */
    const struct view *any; /* one of them, for its query */
    struct shape *next;
};

struct resource {
    struct shape *shapes;
    bool reads_doc;
};

struct kb_views {
    struct kb_map topics;    /* topic without NUL → view */
    struct kb_map resources; /* → resource */
    struct view *touched, **touched_end, *sent;
    struct kb_buf before, after, name; /* scratch */
};

struct kb_views *kb_views_new(void)
{
    struct kb_views *views = calloc(1, sizeof(*views));
    KB_ASSERT(views != NULL);
    views->touched_end = &views->touched;
    return views;
}

/* ---- coming and going ---- */

static struct resource *resource_of(const struct kb_views *views, kb_str name)
{
    return kb_map_get(&views->resources, name);
}

static void resource_update(struct resource *r)
{
    r->reads_doc = false;
    for (const struct shape *s = r->shapes; s; s = s->next)
        r->reads_doc |= kb_query_reads_doc(&s->any->query);
}

static struct shape *shape_of(struct resource *r, const char *name)
{
    for (struct shape *s = r->shapes; s; s = s->next)
        if (strcmp(s->name, name) == 0)
            return s;
    struct shape *s = calloc(1, sizeof(*s));
    KB_ASSERT(s != NULL);
    s->name = kb_str_dup(kb_str_of(name));
    s->next = r->shapes;
    r->shapes = s;
    return s;
}

static void shape_free(struct shape *s)
{
    kb_map_finish(&s->views);
    free(s->name);
    free(s);
}

static void view_values(const struct view *v, struct kb_buf *out)
{
    kb_buf_clear(out);
    kb_query_values(&v->query, out);
}

static int view_link(struct kb_views *views, struct view *v, struct kb_err *err)
{
    struct resource *r = resource_of(views, v->query.resource);
    if (r == NULL) {
        r = calloc(1, sizeof(*r));
        KB_ASSERT(r != NULL);
        kb_map_put(&views->resources, v->query.resource, r);
    }
    kb_buf_clear(&views->name);
    kb_query_shape(&v->query, &views->name);
    /* A second spelling of a query is a shape of its own, so that a shape has one view a value. */
    view_values(v, &views->before);
    struct shape *s = shape_of(r, views->name.p);
    size_t plain = views->name.n;
    for (int twin = 1; kb_map_get(&s->views, kb_buf_str(&views->before)); twin++) {
        if (twin == SPELLINGS_MAX)
            return kb_err_set(err, KB_EFULL, "view: more than %d spellings", SPELLINGS_MAX);
        views->name.n = plain;
        kb_buf_printf(&views->name, "#%d", twin);
        s = shape_of(r, views->name.p);
    }
    kb_map_put(&s->views, kb_buf_str(&views->before), v);
    s->any = v;
    v->shape = s;
    resource_update(r);
    return 0;
}

static void shape_drop(struct kb_views *views, kb_str resource, struct shape *s)
{
    struct resource *r = resource_of(views, resource);
    for (struct shape **at = &r->shapes; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    shape_free(s);
    if (r->shapes == NULL)
        free(kb_map_del(&views->resources, resource));
    else
        resource_update(r);
}

static void view_unlink(struct kb_views *views, struct view *v)
{
    struct shape *s = v->shape;
    kb_str values;
    void *other = NULL;
    if (s == NULL)
        return;
    v->shape = NULL;
    view_values(v, &views->before);
    kb_map_del(&s->views, kb_buf_str(&views->before));
    if (s->any != v)
        return;
    size_t i = 0;
    if (kb_map_next(&s->views, &i, &values, &other))
        s->any = other;
    else
        shape_drop(views, v->query.resource, s);
}

static void view_free(struct view *v)
{
    kb_query_finish(&v->query);
    kb_w_finish(&v->body);
    free(v->topic);
    free(v);
}

static int view_parse(struct kb_views *views, struct view *v, const struct kb_indices *declared,
                      uint64_t rev, struct kb_err *err)
{
    int rc = kb_query_parse(kb_str_n(v->topic, v->topic_n), declared, &v->query, err);
    if (rc < 0)
        return rc;
    v->last_rev = rev;
    rc = view_link(views, v, err);
    if (rc < 0)
        kb_query_finish(&v->query);
    return rc;
}

int kb_views_add(struct kb_views *views, kb_str topic, const struct kb_indices *declared,
                 uint64_t rev, struct kb_err *err)
{
    struct view *v = kb_map_get(&views->topics, topic);
    if (v && v->shape)
        return 0;
    if (topic.n == 0 || topic.n > KB_VIEW_MAX_BYTES)
        return kb_err_set(err, KB_EINVAL, "view: of %zu bytes", topic.n);
    if (v == NULL) {
        v = calloc(1, sizeof(*v));
        KB_ASSERT(v != NULL);
        v->topic = kb_str_dup(topic);
        v->topic_n = topic.n;
        kb_map_put(&views->topics, topic, v);
    }
    return view_parse(views, v, declared, rev, err);
}

/* Nothing of it may be published any more. */
static void view_untouch(struct kb_views *views, struct view *v)
{
    if (views->sent == v)
        views->sent = NULL;
    for (struct view **at = &views->touched; *at; at = &(*at)->next_touched)
        if (*at == v) {
            *at = v->next_touched;
            if (views->touched_end == &v->next_touched)
                views->touched_end = at;
            return;
        }
}

void kb_views_remove(struct kb_views *views, kb_str topic)
{
    struct view *v = kb_map_del(&views->topics, topic);
    if (v == NULL)
        return;
    view_untouch(views, v);
    view_unlink(views, v);
    view_free(v);
}

void kb_views_redeclare(struct kb_views *views, const struct kb_indices *declared, uint64_t rev)
{
    kb_str topic;
    void *value;
    struct kb_err err;
    for (size_t i = 0; kb_map_next(&views->topics, &i, &topic, &value);) {
        struct view *v = value;
        view_unlink(views, v);
    }
    for (size_t i = 0; kb_map_next(&views->topics, &i, &topic, &value);) {
        struct view *v = value;
        bool was = v->query.resource.n > 0;
        uint64_t last = v->last_rev;
        kb_query_finish(&v->query);
        if (view_parse(views, v, declared, rev, &err) == 0 && was)
            v->last_rev = last;
    }
}

size_t kb_views_count(const struct kb_views *views)
{
    return views->topics.count;
}

void kb_views_destroy(struct kb_views **views_p)
{
    struct kb_views *views = KB_STEAL(*views_p);
    kb_str name;
    void *value;
    if (views == NULL)
        return;
    for (size_t i = 0; kb_map_next(&views->topics, &i, &name, &value);)
        view_free(value);
    for (size_t i = 0; kb_map_next(&views->resources, &i, &name, &value);) {
        struct resource *r = value;
        while (r->shapes) {
            struct shape *s = r->shapes;
            r->shapes = s->next;
            shape_free(s);
        }
        free(r);
    }
    kb_map_finish(&views->topics);
    kb_map_finish(&views->resources);
    kb_buf_finish(&views->before);
    kb_buf_finish(&views->after);
    kb_buf_finish(&views->name);
    free(views);
}

/* ---- changes ---- */

void kb_query_write_doc(const struct kb_query *q, const char *key, kb_val doc, struct kb_w *w)
{
    kb_w_key(w, key);
    if (q->fields)
        kb_keep_write(q->fields, doc, w);
    else
        kb_w_raw(w, doc);
}

static void write_change(struct kb_w *w, bool put, const struct kb_views_change *c, kb_val doc,
                         const struct kb_query *q)
{
    kb_w_map(w);
    kb_w_kcstr(w, "op", put ? "put" : "del");
    kb_w_kstr(w, "key", c->key);
    kb_w_kint(w, "rev", (int64_t)c->rev);
    kb_query_write_doc(q, "doc", doc, w);
    if (q->with_old && put && c->old.p)
        kb_query_write_doc(q, "old", c->old, w);
    kb_w_end(w);
}

static void touch(struct kb_views *views, struct view *v, bool put, const struct kb_views_change *c,
                  kb_val doc)
{
    if (!v->touched) {
        v->touched = true;
        v->next_touched = NULL;
        *views->touched_end = v;
        views->touched_end = &v->next_touched;
        kb_w_map(&v->body);
        kb_w_karray(&v->body, "changes");
    }
    v->batch_rev = c->rev;
    if (v->lost)
        return;
    write_change(&v->body, put, c, doc, &v->query);
    if (v->body.buf.n > KB_EVENT_MAX_BYTES) {
        v->lost = true;
        kb_w_finish(&v->body);
    }
}

static struct view *view_of(const struct shape *s, struct kb_key key, kb_val doc,
                            struct kb_buf *scratch)
{
    kb_buf_clear(scratch);
    if (doc.p == NULL || !kb_query_values_of(&s->any->query, key, doc, scratch))
        return NULL;
    return kb_map_get(&s->views, kb_buf_str(scratch));
}

enum kb_views_need kb_views_need(const struct kb_views *views, kb_str resource)
{
    const struct resource *r = resource_of(views, resource);
    return r == NULL ? KB_VIEWS_NOTHING : r->reads_doc ? KB_VIEWS_OLD : KB_VIEWS_NEW;
}

void kb_views_change(struct kb_views *views, const struct kb_views_change *c)
{
    struct kb_key key;
    if (kb_key_parse(c->key, &key, NULL) < 0)
        return;
    const struct resource *r = resource_of(views, key.resource);
    for (struct shape *s = r ? r->shapes : NULL; s; s = s->next) {
        struct view *old = view_of(s, key, c->old, &views->before);
        struct view *now = view_of(s, key, c->doc, &views->after);
        if (old && old != now)
            touch(views, old, false, c, c->old);
        if (now)
            touch(views, now, true, c, c->doc);
    }
}

static kb_str topic_of(const struct view *v)
{
    return kb_str_n(v->topic, v->topic_n + 1);
}

static struct kb_views_event beat_of(const struct view *v)
{
    return (struct kb_views_event){topic_of(v), v->last_rev, v->last_rev, {NULL, NULL}};
}

/* The event that was taken last is over. */
static void sent_done(struct kb_views *views)
{
    struct view *v = KB_STEAL(views->sent);
    if (v == NULL)
        return;
    if (v->body.buf.cap > BODY_KEEP_BYTES)
        kb_w_finish(&v->body);
    kb_buf_clear(&v->body.buf);
}

bool kb_views_next_event(struct kb_views *views, struct kb_views_event *ret)
{
    sent_done(views);
    struct view *v = views->touched;
    if (v == NULL)
        return false;
    views->touched = v->next_touched;
    if (views->touched == NULL)
        views->touched_end = &views->touched;
    v->touched = false;
    if (v->lost) { /* a beat from ahead: subscribers replay what is missing, in pages */
        v->lost = false;
        v->last_rev = v->batch_rev;
        *ret = beat_of(v);
        return true;
    }
    views->sent = v;
    kb_w_end(&v->body);
    kb_w_end(&v->body);
    *ret = (struct kb_views_event){topic_of(v), v->batch_rev, v->last_rev, kb_w_val(&v->body)};
    v->last_rev = v->batch_rev;
    return true;
}

bool kb_views_beat(const struct kb_views *views, size_t *cursor, struct kb_views_event *ret)
{
    kb_str topic;
    void *value;
    while (kb_map_next(&views->topics, cursor, &topic, &value)) {
        const struct view *v = value;
        if (v->shape == NULL)
            continue;
        *ret = beat_of(v);
        return true;
    }
    return false;
}

bool kb_views_beat_of(const struct kb_views *views, kb_str topic, struct kb_views_event *ret)
{
    const struct view *v = kb_map_get(&views->topics, topic);
    if (v == NULL || v->shape == NULL)
        return false;
    *ret = beat_of(v);
    return true;
}

size_t kb_query_change(const struct kb_query *q, const struct kb_views_change *c, struct kb_w *w)
{
    struct kb_key key;
    if (kb_key_parse(c->key, &key, NULL) < 0 || !kb_str_eq(key.resource, q->resource))
        return 0;
    bool was = c->old.p && kb_query_match(q, key, c->old);
    bool is = c->doc.p && kb_query_match(q, key, c->doc);
    if (is)
        write_change(w, true, c, c->doc, q);
    else if (was)
        write_change(w, false, c, c->old, q);
    return is || was;
}
