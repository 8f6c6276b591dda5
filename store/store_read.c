#include "store/store_int.h"

#include <stdio.h>

enum { LIST_DEFAULT = 10000, REPLAY_DEFAULT = 1000, REPLAY_LOOKS = 20000 };

#define PAGE_BYTES ((size_t)8 << 20) /* a page ends behind the item that passes this */

void kb__write_item(struct kb_w *w, const struct kb_item *item)
{
    kb_w_map(w);
    kb_w_kstr(w, "key", item->key);
    kb_w_kint(w, "rev", (int64_t)item->id.rev);
    kb_w_kraw(w, "doc", item->doc);
    kb_w_end(w);
}

static void fail(struct kb_store_core *core, void *token, const struct kb_err *err)
{
    kb_w_finish(&core->w); /* a body that was begun */
    core->w = (struct kb_w){0};
    kb__fail(core, token, err, (kb_val){NULL, NULL});
}

/* "rev": as of; absent: the newest. One that is not there yet is an error: it would not stay exact.
 */
static int read_rev(struct kb_store_core *core, kb_val body, uint64_t *ret_rev, struct kb_err *err)
{
    int64_t rev = kb_val_int_at(body, "rev", 0);
    uint64_t now = kb_engine_rev(core->engine);
    if (rev < 0)
        return kb_err_set(err, KB_EINVAL, "a revision is negative");
    if ((uint64_t)rev > now)
        return kb_err_set(err, KB_ETIMEOUT, "Too large resource version: %lld, current: %llu",
                          (long long)rev, (unsigned long long)now);
    *ret_rev = rev ? (uint64_t)rev : now;
    return 0;
}

void kb__get(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    struct kb_item item;
    uint64_t rev;
    struct kb_w *w = &core->w;
    int rc = read_rev(core, body, &rev, &err);
    if (rc == 0)
        rc = kb_engine_get(core->engine, kb_val_str_at(body, "key"), rev, &item, &err);
    if (rc < 0) {
        fail(core, token, &err);
        return;
    }
    kb_w_map(w);
    kb_w_kstr(w, "key", item.key);
    kb_w_kint(w, "rev", (int64_t)item.id.rev);
    kb_w_kraw(w, "doc", item.doc);
    kb_w_kint(w, "now", (int64_t)kb_engine_rev(core->engine));
    kb_w_end(w);
    kb__reply(core, token);
}

/* ---- lists ---- */

/* The narrowest range that has all of the query's objects. `prefix` needs KB_KEY_MAX_BYTES + 2. */
static void plan(struct kb_store_core *core, const struct kb_query *q, struct kb_range *range,
                 char *prefix, size_t cap)
{
    kb_str ns = {0};
    const struct kb_query_key *by = NULL;
    for (size_t i = 0; i < q->n; i++) {
        if (kb_str_is(q->keys[i].name, "ns"))
            ns = q->keys[i].value;
        else if (q->keys[i].path && by == NULL)
            by = &q->keys[i];
    }
    snprintf(prefix, cap, KB_STR_FMT "/" KB_STR_FMT "%s", KB_STR_ARG(q->resource), KB_STR_ARG(ns),
             ns.n ? "/" : "");
    range->prefix = kb_str_of(prefix);
    if (by) {
        range->index = by->name;
        range->value = by->value;
    }
    (void)core;
}

struct page {
    size_t limit, n;
    bool more;
};

static void write_selected(struct kb_w *w, const struct kb_query *q, const struct kb_item *item)
{
    kb_w_map(w);
    kb_w_kstr(w, "key", item->key);
    kb_w_kint(w, "rev", (int64_t)item->id.rev);
    kb_query_write_doc(q, "doc", item->doc, w);
    kb_w_end(w);
}

static int write_items(struct kb_store_core *core, struct kb_scan *scan, const struct kb_query *q,
                       struct page *page, struct kb_err *err)
{
    struct kb_item item;
    int rc;
    while ((rc = kb_scan_next(scan, &item, err)) > 0) {
        struct kb_key key;
        if (kb_key_parse(item.key, &key, err) < 0 || !kb_query_match(q, key, item.doc))
            continue;
        if (page->n == page->limit || core->w.buf.n >= PAGE_BYTES) {
            page->more = true;
            return 0;
        }
        write_selected(&core->w, q, &item);
        page->n++;
    }
    return rc;
}

static int list(struct kb_store_core *core, kb_val body, struct kb_query *q, struct kb_err *err)
{
    char prefix[KB_VIEW_MAX_BYTES + KB_KEY_MAX_BYTES];
    struct kb_scan scan;
    struct kb_range range = {.after = kb_val_str_at(body, "after")};
    int64_t limit = kb_val_int_at(body, "limit", 0);
    struct page page = {.limit = limit > 0 ? (size_t)limit : LIST_DEFAULT};
    struct kb_w *w = &core->w;
    int rc = kb_query_parse(kb_val_str_at(body, "view"), kb_engine_indices(core->engine), q, err);
    if (rc == 0)
        rc = read_rev(core, body, &range.rev, err);
    if (rc < 0)
        return rc;
    plan(core, q, &range, prefix, sizeof(prefix));
    rc = kb_scan_init(&scan, core->engine, &range, err);
    if (rc == 0) {
        kb_w_map(w);
        kb_w_kint(w, "rev", (int64_t)range.rev);
        kb_w_kcstr(w, "db", kb_engine_id(core->engine));
        kb_w_karray(w, "items");
        rc = write_items(core, &scan, q, &page, err);
    }
    kb_scan_finish(&scan);
    if (rc < 0)
        return rc;
    kb_w_end(w);
    kb_w_kbool(w, "more", page.more);
    kb_w_end(w);
    return 0;
}

void kb__list(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    KB_AUTO(kb_query_finish) struct kb_query q = {0};
    kb__long_body(core);
    if (list(core, body, &q, &err) < 0)
        fail(core, token, &err);
    else
        kb__reply(core, token);
}

/* ---- replays ---- */

static int write_change(struct kb_store_core *core, const struct kb_query *q,
                        const struct kb_item *item, struct page *page, struct kb_err *err)
{
    struct kb_item old = {0};
    struct kb_views_change change = {.key = item->key, .rev = item->id.rev, .doc = item->doc};
    if (item->key.n <= q->resource.n || item->key.p[q->resource.n] != '/' ||
        memcmp(item->key.p, q->resource.p, q->resource.n) != 0)
        return 0;
    if (!item->created && (item->deleted || kb_query_reads_doc(q))) {
        int rc = kb_engine_version(core->engine, item->prev, &old, err);
        if (rc < 0)
            return rc;
        change.old = old.doc;
    }
    page->n += kb_query_change(q, &change, &core->w);
    return 0;
}

/* Whole revisions until the page is full; *ret_rev is how far it reaches. */
static int write_changes(struct kb_store_core *core, struct kb_history *history,
                         const struct kb_query *q, struct page *page, uint64_t *ret_rev,
                         struct kb_err *err)
{
    struct kb_item item;
    int rc;
    for (size_t looks = 0; (rc = kb_history_next(history, &item, err)) > 0; looks++) {
        bool full = page->n >= page->limit || core->w.buf.n >= PAGE_BYTES || looks >= REPLAY_LOOKS;
        if (full && item.id.rev != *ret_rev) {
            page->more = true;
            return 0;
        }
        *ret_rev = item.id.rev;
        rc = write_change(core, q, &item, page, err);
        if (rc < 0)
            return rc;
    }
    if (rc == 0)
        *ret_rev = kb_engine_rev(core->engine);
    return rc;
}

static int replay(struct kb_store_core *core, kb_val body, struct kb_query *q, struct kb_err *err)
{
    struct kb_history history = {0};
    int64_t since = kb_val_int_at(body, "since", -1), limit = kb_val_int_at(body, "limit", 0);
    struct page page = {.limit = limit > 0 ? (size_t)limit : REPLAY_DEFAULT};
    uint64_t reached = (uint64_t)since;
    struct kb_w *w = &core->w;
    int rc = kb_query_parse(kb_val_str_at(body, "view"), kb_engine_indices(core->engine), q, err);
    if (rc == 0 && since < 0)
        rc = kb_err_set(err, KB_EINVAL, "replay: `since` is missing");
    if (rc == 0 && (uint64_t)since > kb_engine_rev(core->engine))
        rc = kb_err_set(err, KB_EGONE, "replay: revision %lld is not in this database",
                        (long long)since);
    if (rc == 0)
        rc = kb_history_init(&history, core->engine, (uint64_t)since, err);
    if (rc < 0)
        return rc;
    kb_w_map(w);
    kb_w_karray(w, "changes");
    rc = write_changes(core, &history, q, &page, &reached, err);
    kb_history_finish(&history);
    if (rc < 0)
        return rc;
    kb_w_end(w);
    kb_w_kint(w, "rev", (int64_t)reached);
    kb_w_kcstr(w, "db", kb_engine_id(core->engine));
    kb_w_kbool(w, "more", page.more);
    kb_w_end(w);
    return 0;
}

void kb__replay(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    KB_AUTO(kb_query_finish) struct kb_query q = {0};
    kb__long_body(core);
    if (replay(core, body, &q, &err) < 0)
        fail(core, token, &err);
    else
        kb__reply(core, token);
}

void kb__status(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_engine_status s;
    struct kb_err err;
    struct kb_w *w = &core->w;
    (void)body;
    if (kb_engine_status(core->engine, &s, &err) < 0) {
        fail(core, token, &err);
        return;
    }
    kb_w_map(w);
    kb_w_kint(w, "rev", (int64_t)s.rev);
    kb_w_kint(w, "compacted", (int64_t)s.compacted);
    kb_w_kcstr(w, "db", kb_engine_id(core->engine));
    kb_w_kint(w, "bytes", (int64_t)(s.db_bytes + s.log_bytes));
    kb_w_kint(w, "objects", (int64_t)s.objects);
    kb_w_kint(w, "versions", (int64_t)s.versions);
    kb_w_kint(w, "index_entries", (int64_t)s.index_entries);
    kb_w_kint(w, "leases", (int64_t)s.leases);
    kb_w_kint(w, "views", (int64_t)kb_views_count(core->views));
    kb_w_kint(w, "db_bytes", (int64_t)s.db_bytes);
    kb_w_kint(w, "map_bytes", (int64_t)s.map_bytes);
    kb_w_kint(w, "log_bytes", (int64_t)s.log_bytes);
    kb_w_kint(w, "memory_bytes", (int64_t)s.memory_bytes);
    kb_w_kint(w, "applied", (int64_t)s.applied_rev);
    kb_w_kint(w, "batches", (int64_t)s.batches);
    kb_w_kint(w, "txns", (int64_t)s.txns);
    kb_w_kint(w, "readers", s.readers);
    if (s.failing)
        kb_w_kcstr(w, "failing", s.failing_text);
    kb_w_end(w);
    kb__reply(core, token);
}
