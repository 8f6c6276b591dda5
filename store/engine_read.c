/* engine_read.c - finding versions.
 *
 * A version is in one of three places: the active generation, the closed one, the database. For one
 * key the newest of them wins; from it the chain of `prev` leads back in time, through whatever
 * place has the older one. The database may already have a part of what the closed generation has:
 * that changes nothing, for the generation is asked first. */
#include "store/engine_int.h"

#include <stdlib.h>

struct kb_item kb__item_of(const struct kb_record *rec)
{
    return (struct kb_item){
        .key = rec->key,
        .id = rec->id,
        .prev = rec->prev,
        .deleted = rec->deleted,
        .created = rec->prev_deleted,
        .doc = rec->deleted ? (kb_val){NULL, NULL} : kb__doc_val(rec->doc),
    };
}

/* The record of an id, wherever it is. */
static int load(struct kb_engine *e, struct kb_vid id, struct kb_record *ret, struct kb_err *err)
{
    uint8_t key[KB_VID_BYTES];
    kb_str bytes;
    const struct kb__version *v = kb__gen_find(e->active, id);
    if (v == NULL)
        v = kb__gen_find(e->closed, id);
    if (v) {
        *ret = v->rec;
        return 0;
    }
    kb_vid_put(id, key);
    int rc = kb_kv_get(e->read, KB_KV_HIST, kb_str_n((char *)key, sizeof(key)), &bytes, err);
    return rc < 0 ? rc : kb_record_decode(bytes, ret, err);
}

struct head { /* what is known of a key's newest version without its document */
    struct kb_vid id;
    int64_t expires_ms;
    bool deleted;
    const struct kb__version *v; /* when it is in memory */
};

static int head_of_cur(kb_str bytes, struct head *ret, struct kb_err *err)
{
    struct kb__cur cur;
    if (bytes.n != sizeof(cur))
        return kb_err_set(err, KB_EIO, "database: an entry of the current table is damaged");
    memcpy(&cur, bytes.p, sizeof(cur));
    *ret = (struct head){
        .id = {cur.rev, cur.idx}, .expires_ms = cur.expires_ms, .deleted = cur.deleted};
    return 0;
}

static struct head head_of_version(const struct kb__version *v)
{
    return (struct head){
        .id = v->rec.id, .expires_ms = v->rec.expires_ms, .deleted = v->rec.deleted, .v = v};
}

static int newest_head(struct kb_engine *e, kb_str key, struct head *ret, struct kb_err *err)
{
    struct kb__gen *gens[2] = {e->active, e->closed};
    for (int i = 0; i < 2; i++) {
        const struct kb_skip_node *node = gens[i] ? kb_skip_find(&gens[i]->keys, key) : NULL;
        if (node && node->value) {
            *ret = head_of_version(node->value);
            return 0;
        }
    }
    kb_str bytes;
    int rc = kb_kv_get(e->read, KB_KV_CUR, key, &bytes, err);
    return rc < 0 ? rc : head_of_cur(bytes, ret, err);
}

int kb__newest(struct kb_engine *e, kb_str key, bool want_doc, struct kb_record *ret_record,
               struct kb_err *err)
{
    struct head head;
    int rc = newest_head(e, key, &head, err);
    if (rc < 0)
        return rc;
    if (head.v) {
        *ret_record = head.v->rec;
        return 0;
    }
    if (want_doc && !head.deleted)
        return load(e, head.id, ret_record, err);
    *ret_record = (struct kb_record){
        .id = head.id, .expires_ms = head.expires_ms, .deleted = head.deleted, .key = key};
    return 0;
}

/* From the newest version back to the one that was there at `rev`. -KB_ENOTFOUND: none, or a
 * tombstone. */
static int as_of(struct kb_engine *e, const struct head *head, uint64_t rev, struct kb_record *ret,
                 struct kb_err *err)
{
    struct kb_vid id = head->id;
    const struct kb__version *v = head->v;
    if (id.rev <= rev && head->deleted)
        return -KB_ENOTFOUND;
    for (;;) {
        struct kb_record rec;
        if (v) {
            rec = v->rec;
            v = v->older;
        } else {
            int rc = load(e, id, &rec, err);
            if (rc == -KB_ENOTFOUND && id.rev > e->compacted)
                return kb_err_set(err, KB_EIO, "database: revision %llu of an object is missing",
                                  (unsigned long long)id.rev);
            if (rc < 0)
                return rc;
        }
        if (rec.id.rev <= rev) {
            *ret = rec;
            return rec.deleted ? -KB_ENOTFOUND : 0;
        }
        id = rec.prev;
        if (id.rev == 0)
            return -KB_ENOTFOUND;
    }
}

static int readable(struct kb_engine *e, uint64_t *rev, struct kb_err *err)
{
    if (*rev > e->durable_rev)
        *rev = e->durable_rev;
    if (*rev < e->compacted)
        return kb_err_set(err, KB_EGONE, "revision %llu has been compacted; the oldest is %llu",
                          (unsigned long long)*rev, (unsigned long long)e->compacted);
    return 0;
}

int kb_engine_get(struct kb_engine *e, kb_str key, uint64_t rev, struct kb_item *ret_item,
                  struct kb_err *err)
{
    struct head head;
    struct kb_record rec;
    int rc = readable(e, &rev, err);
    if (rc == 0)
        rc = newest_head(e, key, &head, err);
    if (rc == 0)
        rc = as_of(e, &head, rev, &rec, err);
    if (rc == -KB_ENOTFOUND)
        return kb_err_set(err, KB_ENOTFOUND, "'" KB_STR_FMT "' not found", KB_STR_ARG(key));
    if (rc == 0)
        *ret_item = kb__item_of(&rec);
    return rc;
}

int kb_engine_staged(struct kb_engine *e, kb_str key, struct kb_item *ret_item, struct kb_err *err)
{
    struct kb_record rec;
    int rc = kb__newest(e, key, true, &rec, err);
    if (rc == -KB_ENOTFOUND || (rc == 0 && rec.deleted))
        return kb_err_set(err, KB_ENOTFOUND, "'" KB_STR_FMT "' not found", KB_STR_ARG(key));
    if (rc == 0)
        *ret_item = kb__item_of(&rec);
    return rc;
}

int kb_engine_version(struct kb_engine *e, struct kb_vid id, struct kb_item *ret_item,
                      struct kb_err *err)
{
    struct kb_record rec;
    int rc = id.rev ? load(e, id, &rec, err) : -KB_ENOTFOUND;
    if (rc == -KB_ENOTFOUND)
        return kb_err_set(err, KB_ENOTFOUND, "no such version");
    if (rc == 0)
        *ret_item = kb__item_of(&rec);
    return rc;
}

/* ---- ranges ---- */

static kb_str scan_prefix(const struct kb_scan *scan)
{
    return kb_str_n(scan->prefix, scan->prefix_n);
}

static bool in_prefix(const struct kb_scan *scan, kb_str key)
{
    return key.n >= scan->prefix_n && memcmp(key.p, scan->prefix, scan->prefix_n) == 0;
}

static const struct kb_skip *scan_list(const struct kb_scan *scan, const struct kb__gen *gen)
{
    return scan->index_id ? &gen->index : &gen->keys;
}

/* Use the index when it is built; until then look at every object of the resource. */
static int scan_by_index(struct kb_scan *scan, const struct kb_range *range, struct kb_err *err)
{
    kb_str rest = range->prefix, resource = kb_str_cut(&rest, '/');
    const struct kb_index *index =
        kb_index_find(kb_indices_of(&scan->engine->indices, resource), range->index);
    if (index == NULL)
        return kb_err_set(err, KB_EINVAL, "'" KB_STR_FMT "' has no index '" KB_STR_FMT "'",
                          KB_STR_ARG(resource), KB_STR_ARG(range->index));
    if (range->value.n > sizeof(scan->value))
        return kb_err_set(err, KB_E2BIG, "the value of an index is too long");
    scan->path = index->path;
    scan->value_n = range->value.n;
    if (range->value.n)
        memcpy(scan->value, range->value.p, range->value.n);
    if (!index->ready)
        return 0;
    scan->index_id = index->id;
    scan->prefix_n = kb_index_entry(index->id, range->value, (struct kb_key){0}, scan->prefix);
    if (rest.p && rest.n) { /* "ns/" too */
        memcpy(scan->prefix + scan->prefix_n, rest.p, rest.n);
        scan->prefix_n += rest.n;
    }
    return 0;
}

/* Move the cursor on to the next entry of the prefix. */
static int cursor_step(struct kb_scan *scan, bool seek, kb_str to, struct kb_err *err)
{
    int rc = seek ? kb_kv_seek(scan->cursor, to, &scan->at_key, &scan->at_val, err)
                  : kb_kv_next(scan->cursor, &scan->at_key, &scan->at_val, err);
    if (rc == -KB_ENOTFOUND || (rc == 0 && !in_prefix(scan, scan->at_key)))
        scan->at_key = kb_str_n(NULL, 0);
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static const struct kb_skip_node *node_in(const struct kb_scan *scan,
                                          const struct kb_skip_node *node)
{
    return node && in_prefix(scan, node->key) ? node : NULL;
}

/* Where a scan that goes on behind the key `after` starts; into `from`. A key of another resource
 * stands before or behind all of this one's. */
static kb_str start_behind(const struct kb_scan *scan, kb_str after, char *from)
{
    kb_str start = scan_prefix(scan);
    size_t skip = scan->resource_n + 1;
    bool same = after.n > skip && memcmp(after.p, scan->resource, scan->resource_n) == 0 &&
                after.p[scan->resource_n] == '/';
    kb_str next = kb_str_n(from, 0);
    if (scan->index_id && !same) {
        if (kb_str_cmp(after, kb_str_n(scan->resource, skip)) < 0)
            return start;
        memcpy(from, start.p, start.n);
        memset(from + start.n, 0xff, KB_KEY_MAX_BYTES);
        next.n = start.n + KB_KEY_MAX_BYTES;
        return next;
    }
    if (scan->index_id) {
        memcpy(from, scan->prefix, KB_INDEX_PREFIX_BYTES);
        memcpy(from + KB_INDEX_PREFIX_BYTES, after.p + skip, after.n - skip);
        next.n = KB_INDEX_PREFIX_BYTES + after.n - skip;
    } else {
        memcpy(from, after.p, after.n);
        next.n = after.n;
    }
    from[next.n++] = '\0'; /* the first key behind it */
    return kb_str_cmp(next, start) > 0 ? next : start;
}

static int scan_start(struct kb_scan *scan, kb_str after, struct kb_err *err)
{
    struct kb_engine *e = scan->engine;
    struct kb__gen *gens[2] = {e->active, e->closed};
    char from[sizeof(scan->prefix) + KB_KEY_MAX_BYTES + 1];
    kb_str start = after.n ? start_behind(scan, after, from) : scan_prefix(scan);
    int rc = kb_kv_cursor(e->read, scan->index_id ? KB_KV_INDEX : KB_KV_CUR, &scan->cursor, err);
    if (rc == 0)
        rc = cursor_step(scan, true, start, err);
    for (int i = 0; i < 2; i++)
        scan->nodes[i] =
            gens[i] ? node_in(scan, kb_skip_seek(scan_list(scan, gens[i]), start)) : NULL;
    return rc;
}

int kb_scan_init(struct kb_scan *scan, struct kb_engine *e, const struct kb_range *range,
                 struct kb_err *err)
{
    kb_str rest = range->prefix, resource = kb_str_cut(&rest, '/');
    scan->engine = e;
    scan->cursor = NULL;
    scan->rev = range->rev;
    scan->index_id = 0;
    scan->path = NULL;
    scan->value_n = 0;
    int rc = readable(e, &scan->rev, err);
    if (rc < 0)
        return rc;
    if (range->prefix.n > KB_KEY_MAX_BYTES || range->after.n > KB_KEY_MAX_BYTES || rest.p == NULL)
        return kb_err_set(err, KB_EINVAL, "'" KB_STR_FMT "' is no prefix of keys",
                          KB_STR_ARG(range->prefix));
    memcpy(scan->prefix, range->prefix.p, range->prefix.n);
    scan->prefix_n = range->prefix.n;
    memcpy(scan->resource, resource.p, resource.n);
    scan->resource[resource.n] = '/';
    scan->resource_n = resource.n;
    if (range->index.n && (rc = scan_by_index(scan, range, err)) < 0)
        return rc;
    return scan_start(scan, range->after, err);
}

void kb_scan_finish(struct kb_scan *scan)
{
    kb_kv_cursor_end(&scan->cursor);
}

/* The least key of the three sources; all that stand at it move on. 0: none is left. */
static int scan_candidate(struct kb_scan *scan, kb_str *ret_key, struct head *ret_head,
                          struct kb_err *err)
{
    kb_str least = scan->at_key;
    for (int i = 0; i < 2; i++)
        if (scan->nodes[i] && (least.p == NULL || kb_str_cmp(scan->nodes[i]->key, least) < 0))
            least = scan->nodes[i]->key;
    if (least.p == NULL)
        return 0;
    *ret_key = least;
    *ret_head = (struct head){.id = {0, 0}};
    bool at_cursor = scan->at_key.p && kb_str_eq(scan->at_key, least);
    for (int i = 0; i < 2; i++) {
        if (scan->nodes[i] == NULL || !kb_str_eq(scan->nodes[i]->key, least))
            continue;
        if (!scan->index_id && scan->nodes[i]->value && ret_head->id.rev == 0)
            *ret_head = head_of_version(scan->nodes[i]->value);
        scan->nodes[i] = node_in(scan, kb_skip_after(scan->nodes[i]));
    }
    int rc = 0;
    if (at_cursor && !scan->index_id && ret_head->id.rev == 0)
        rc = head_of_cur(scan->at_val, ret_head, err);
    if (rc == 0 && at_cursor) {
        if (least.p ==
            scan->at_key.p) { /* stays readable: the map does not move under a snapshot */
            *ret_key = least;
        }
        rc = cursor_step(scan, false, least, err);
    }
    return rc < 0 ? rc : 1;
}

/* Of an index: from the entry to the object's key and newest version. */
static int head_by_entry(struct kb_scan *scan, kb_str entry, struct head *ret_head,
                         struct kb_err *err)
{
    kb_str name = kb_index_entry_name(entry);
    if (scan->resource_n + 1 + name.n > KB_KEY_MAX_BYTES)
        return kb_err_set(err, KB_EIO, "database: an entry of an index is damaged");
    memcpy(scan->key, scan->resource, scan->resource_n);
    scan->key[scan->resource_n] = '/';
    memcpy(scan->key + scan->resource_n + 1, name.p, name.n);
    return newest_head(scan->engine, kb_str_n(scan->key, scan->resource_n + 1 + name.n), ret_head,
                       err);
}

int kb_scan_next(struct kb_scan *scan, struct kb_item *ret_item, struct kb_err *err)
{
    for (;;) {
        kb_str key;
        struct head head;
        struct kb_record rec;
        char scratch[KB_VAL_TEXT_BYTES];
        int rc = scan_candidate(scan, &key, &head, err);
        if (rc <= 0)
            return rc;
        if (scan->index_id) {
            rc = head_by_entry(scan, key, &head, err);
            if (rc == -KB_ENOTFOUND)
                continue;
            if (rc < 0)
                return rc;
        }
        if (head.id.rev == 0)
            continue; /* undone */
        rc = as_of(scan->engine, &head, scan->rev, &rec, err);
        if (rc == -KB_ENOTFOUND)
            continue;
        if (rc < 0)
            return rc;
        *ret_item = kb__item_of(&rec);
        if (scan->path == NULL || kb_str_eq(kb_index_value(scan->path, ret_item->doc, scratch),
                                            kb_str_n(scan->value, scan->value_n)))
            return 1;
    }
}

/* ---- history ---- */

static struct kb_vid first_in_memory(const struct kb_engine *e)
{
    if (e->closed && e->closed->n)
        return e->closed->order[0]->rec.id;
    if (e->active->n)
        return e->active->order[0]->rec.id;
    return (struct kb_vid){UINT64_MAX, 0};
}

int kb_history_init(struct kb_history *history, struct kb_engine *e, uint64_t since,
                    struct kb_err *err)
{
    *history = (struct kb_history){.engine = e, .next = {since + 1, 0}, .upto = e->durable_rev};
    if (since < e->compacted)
        return kb_err_set(err, KB_EGONE, "changes since revision %llu are gone; the oldest is %llu",
                          (unsigned long long)since, (unsigned long long)e->compacted);
    if (since >= e->durable_rev || since + 1 >= first_in_memory(e).rev)
        return 0;
    return kb_kv_cursor(e->read, KB_KV_HIST, &history->cursor, err);
}

void kb_history_finish(struct kb_history *history)
{
    kb_kv_cursor_end(&history->cursor);
}

/* The next one in the database, below what is in memory. 1, 0: none, or an error. */
static int history_database(struct kb_history *h, struct kb_record *ret, struct kb_err *err)
{
    uint8_t from[KB_VID_BYTES];
    kb_str key, val;
    kb_vid_put(h->next, from);
    int rc = h->started
                 ? kb_kv_next(h->cursor, &key, &val, err)
                 : kb_kv_seek(h->cursor, kb_str_n((char *)from, sizeof(from)), &key, &val, err);
    h->started = true;
    if (rc == -KB_ENOTFOUND)
        return 0;
    if (rc == 0)
        rc = kb_record_decode(val, ret, err);
    if (rc < 0)
        return rc;
    return ret->id.rev < first_in_memory(h->engine).rev;
}

int kb_history_next(struct kb_history *h, struct kb_item *ret_item, struct kb_err *err)
{
    struct kb_record rec;
    if (h->cursor) {
        int rc = history_database(h, &rec, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            kb_kv_cursor_end(&h->cursor);
    }
    if (h->cursor == NULL) {
        const struct kb__version *v = kb__gen_from(h->engine->closed, h->next);
        if (v == NULL)
            v = kb__gen_from(h->engine->active, h->next);
        if (v == NULL)
            return 0;
        rec = v->rec;
    }
    if (rec.id.rev > h->upto)
        return 0;
    h->next = (struct kb_vid){rec.id.rev, rec.id.idx + 1};
    *ret_item = kb__item_of(&rec);
    return 1;
}
