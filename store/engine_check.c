/* engine_check.c - everything that must hold in the database, looked over. Each rule is one that
 * the code elsewhere relies on. */
#include "store/engine_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct check {
    struct kb_engine *engine;
    struct kb_kv *kv;
    struct kb_kv_txn *txn;     /* the snapshot that is looked over */
    struct kb_indices indices; /* as of it */
    struct kb__applied applied;
    kb_problem_fn *fn;
    void *user;
    struct kb_err *err;
};

/* One that runs on a thread of its own, while the engine goes on. */
struct kb__check {
    struct check check;
    struct kb_err err;
    struct kb_buf problems; /* each with a NUL behind it */
};

static void problem(const struct check *c, const char *format, ...) KB_PRINTF(2, 3);
static void problem(const struct check *c, const char *format, ...)
{
    char text[KB_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->fn(c->user, text);
}

/* 1: it is there and whole, 0: it is not (reported only when damaged), or an error. */
static int version(const struct check *c, struct kb_vid id, struct kb_record *ret)
{
    uint8_t key[KB_VID_BYTES];
    kb_str bytes;
    kb_vid_put(id, key);
    int rc = kb_kv_get(c->txn, KB_KV_HIST, kb_str_n((char *)key, sizeof(key)), &bytes, c->err);
    if (rc == -KB_ENOTFOUND)
        return 0;
    return rc < 0 ? rc : kb_record_decode(bytes, ret, c->err) == 0;
}

static int current(const struct check *c, kb_str key, struct kb__cur *ret)
{
    kb_str bytes;
    int rc = kb_kv_get(c->txn, KB_KV_CUR, key, &bytes, c->err);
    if (rc == -KB_ENOTFOUND || (rc == 0 && bytes.n != sizeof(*ret)))
        return 0;
    if (rc < 0)
        return rc;
    memcpy(ret, bytes.p, sizeof(*ret));
    return 1;
}

/* ---- versions ---- */

/* What is replaced must still be there, unless compaction has passed the change that replaced it.
 */
static int check_prev(const struct check *c, const struct kb_record *rec)
{
    struct kb_record prev;
    unsigned long long rev = rec->id.rev;
    if (rec->prev.rev == 0)
        return 0;
    if (rec->prev.rev >= rec->id.rev)
        problem(c, "revision %llu replaces the later one %llu", rev,
                (unsigned long long)rec->prev.rev);
    int rc = version(c, rec->prev, &prev);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        bool gone = rec->id.rev <= c->applied.compacted ||
                    (rec->prev_deleted && rec->prev.rev <= c->applied.compacted);
        if (!gone)
            problem(c, "revision %llu of '" KB_STR_FMT "', replaced by %llu, is missing",
                    (unsigned long long)rec->prev.rev, KB_STR_ARG(rec->key), rev);
        return 0;
    }
    if (rec->id.rev <= c->applied.compact_done)
        problem(c, "revision %llu of '" KB_STR_FMT "' was compacted and is still there",
                (unsigned long long)rec->prev.rev, KB_STR_ARG(rec->key));
    if (!kb_str_eq(prev.key, rec->key) || prev.deleted != rec->prev_deleted)
        problem(c, "revision %llu of '" KB_STR_FMT "' replaces one of '" KB_STR_FMT "'", rev,
                KB_STR_ARG(rec->key), KB_STR_ARG(prev.key));
    return 0;
}

static int check_entries(const struct check *c, const struct kb_record *rec)
{
    struct kb_key parts;
    if (kb_key_parse(rec->key, &parts, NULL) < 0) {
        problem(c, "revision %llu has a malformed key", (unsigned long long)rec->id.rev);
        return 0;
    }
    const struct kb_resource *resource = kb_indices_of(&c->indices, parts.resource);
    for (size_t i = 0; !rec->deleted && resource && i < resource->n; i++) {
        const struct kb_index *index = &resource->indices[i];
        char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_VAL_TEXT_BYTES];
        kb_str value = kb_index_value(index->path, kb__doc_val(rec->doc), scratch), found;
        size_t n = kb_index_entry(index->id, value, parts, entry);
        int rc = kb_kv_get(c->txn, KB_KV_INDEX, kb_str_n(entry, n), &found, c->err);
        if (rc == -KB_ENOTFOUND && index->ready)
            problem(c, "index '%s' lacks '" KB_STR_FMT "' (revision %llu)", index->name,
                    KB_STR_ARG(rec->key), (unsigned long long)rec->id.rev);
        else if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
    }
    return 0;
}

/* Behind what was compacted, every revision is there, with all its parts. */
static void check_dense(const struct check *c, struct kb_vid last, struct kb_vid id)
{
    if (id.rev <= c->applied.compacted)
        return;
    bool next = id.rev == last.rev ? id.idx == last.idx + 1 : id.rev == last.rev + 1 && id.idx == 0;
    if (!next && (last.rev >= c->applied.compacted && last.rev))
        problem(c, "revisions jump from %llu.%u to %llu.%u", (unsigned long long)last.rev, last.idx,
                (unsigned long long)id.rev, id.idx);
}

static int check_version(const struct check *c, kb_str key, const struct kb_record *rec)
{
    struct kb__cur cur;
    unsigned long long rev = rec->id.rev;
    if (key.n != KB_VID_BYTES || !kb_vid_eq(kb_vid_get((const uint8_t *)key.p), rec->id))
        problem(c, "revision %llu is kept under another's id", rev);
    int rc = current(c, rec->key, &cur);
    if (rc < 0)
        return rc;
    if (rc == 0)
        problem(c, "'" KB_STR_FMT "' (revision %llu) has no current version", KB_STR_ARG(rec->key),
                rev);
    else if (cur.rev < rec->id.rev)
        problem(c, "'" KB_STR_FMT "' is at %llu, but has revision %llu", KB_STR_ARG(rec->key),
                (unsigned long long)cur.rev, rev);
    if (rec->deleted && rec->id.rev <= c->applied.compact_done)
        problem(c, "the tombstone of revision %llu was compacted and is still there", rev);
    rc = check_prev(c, rec);
    return rc < 0 ? rc : check_entries(c, rec);
}

static int check_versions(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    struct kb_vid last = {c->applied.compacted, UINT32_MAX};
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_HIST, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct kb_record rec;
        if (kb_record_decode(val, &rec, c->err) < 0) {
            problem(c, "%s", c->err->text);
            continue;
        }
        check_dense(c, last, rec.id);
        if (rec.id.rev > last.rev || (rec.id.rev == last.rev && last.idx != UINT32_MAX))
            last = rec.id;
        int bad = check_version(c, key, &rec);
        if (bad < 0)
            return bad;
    }
    if (last.rev != c->applied.rev && c->applied.rev > c->applied.compacted)
        problem(c, "the last revision is %llu, but should be %llu", (unsigned long long)last.rev,
                (unsigned long long)c->applied.rev);
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

/* ---- current versions, expiry, index entries ---- */

static int check_current(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_CUR, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct kb__cur cur;
        struct kb_record rec;
        uint8_t when[KB__TTL_KEY_BYTES];
        kb_str found;
        if (val.n != sizeof(cur)) {
            problem(c, "the current version of '" KB_STR_FMT "' is damaged", KB_STR_ARG(key));
            continue;
        }
        memcpy(&cur, val.p, sizeof(cur));
        int there = version(c, (struct kb_vid){cur.rev, cur.idx}, &rec);
        if (there < 0)
            return there;
        if (there == 0 || !kb_str_eq(rec.key, key) || rec.deleted != (cur.deleted != 0) ||
            rec.expires_ms != cur.expires_ms)
            problem(c, "'" KB_STR_FMT "' is at revision %llu, which is not there or another's",
                    KB_STR_ARG(key), (unsigned long long)cur.rev);
        kb__ttl_key(cur.expires_ms, (struct kb_vid){cur.rev, cur.idx}, when);
        if (cur.expires_ms &&
            kb_kv_get(c->txn, KB_KV_TTL, kb_str_n((char *)when, sizeof(when)), &found, c->err) < 0)
            problem(c, "'" KB_STR_FMT "' expires, but nothing would see to it", KB_STR_ARG(key));
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static int check_expiry(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_TTL, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct kb__cur cur;
        int there = current(c, val, &cur);
        if (there < 0)
            return there;
        struct kb_vid id = {0};
        if (key.n == KB__TTL_KEY_BYTES)
            id = kb_vid_get((const uint8_t *)key.p + 8);
        if (!there || cur.rev != id.rev || cur.idx != id.idx)
            problem(c, "the expiry of '" KB_STR_FMT "' is that of a former version",
                    KB_STR_ARG(val));
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static const struct kb_index *index_by_id(const struct kb_indices *indices, kb_str entry,
                                          kb_str *ret_resource)
{
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&indices->resources, &i, &name, &value);) {
        const struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n; k++) {
            char prefix[KB_INDEX_ENTRY_MAX_BYTES];
            kb_index_entry(resource->indices[k].id, kb_str_n(NULL, 0), (struct kb_key){0}, prefix);
            if (entry.n >= 4 && memcmp(entry.p, prefix, 4) == 0) {
                *ret_resource = name;
                return &resource->indices[k];
            }
        }
    }
    return NULL;
}

/* Does any kept version of the object have the value of this entry? */
static int entry_needed(const struct check *c, const struct kb_index *index, kb_str key,
                        kb_str entry)
{
    struct kb__cur cur;
    struct kb_key parts;
    int rc = current(c, key, &cur);
    if (rc <= 0 || kb_key_parse(key, &parts, NULL) < 0)
        return rc < 0 ? rc : 0;
    for (struct kb_vid id = {cur.rev, cur.idx}; id.rev;) {
        struct kb_record rec;
        char mine[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_VAL_TEXT_BYTES];
        rc = version(c, id, &rec);
        if (rc <= 0)
            return rc;
        if (!rec.deleted) {
            kb_str value = kb_index_value(index->path, kb__doc_val(rec.doc), scratch);
            size_t n = kb_index_entry(index->id, value, parts, mine);
            if (kb_str_eq(kb_str_n(mine, n), entry))
                return 1;
        }
        id = rec.prev;
    }
    return 0;
}

static int check_index(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_INDEX, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        kb_str resource, name = kb_index_entry_name(key);
        const struct kb_index *index = index_by_id(&c->indices, key, &resource);
        if (index == NULL) {
            problem(c, "an index that is not declared has an entry '" KB_STR_FMT "'",
                    KB_STR_ARG(name));
            continue;
        }
        KB_AUTO(kb_auto_free)
        char *object = kb_strf(KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(resource), KB_STR_ARG(name));
        int needed = entry_needed(c, index, kb_str_of(object), key);
        if (needed < 0)
            return needed;
        if (needed == 0)
            problem(c, "index '%s' has an entry of '%s' that no version needs", index->name,
                    object);
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

/* ---- one check ---- */

static void check_finish(struct check *c)
{
    kb_kv_abort(&c->txn);
    kb_indices_finish(&c->indices);
}

/* Bring the database up to date and hold on to what it then is. */
static int check_begin(struct kb_engine *e, struct check *c, struct kb_err *err)
{
    kb_str name;
    void *resource;
    int rc = kb_engine_checkpoint(e, err);
    if (rc == 0)
        rc = kb_kv_begin(e->kv, false, &c->txn, err);
    if (rc < 0)
        return rc;
    c->engine = e;
    c->kv = e->kv;
    c->applied = e->applied; /* the applier rests */
    for (size_t i = 0; kb_map_next(&e->db_indices.resources, &i, &name, &resource);) {
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        kb_indices_write(resource, &w);
        KB_ASSERT(kb_indices_apply(&c->indices, kb_w_val(&w), err) == 0);
    }
    return 0;
}

static int check_run(const struct check *c)
{
    if (kb_kv_verify(c->kv, c->err) < 0) {
        c->fn(c->user, c->err->text);
        return 0;
    }
    int rc = check_versions(c);
    if (rc == 0)
        rc = check_current(c);
    if (rc == 0)
        rc = check_expiry(c);
    return rc < 0 ? rc : check_index(c);
}

int kb_engine_check(struct kb_engine *e, kb_problem_fn *fn, void *user, struct kb_err *err)
{
    struct check c = {.fn = fn, .user = user, .err = err};
    int rc = check_begin(e, &c, err);
    if (rc == 0)
        rc = check_run(&c);
    check_finish(&c);
    return rc;
}

/* ---- on a thread ---- */

static void note(void *user, const char *text)
{
    struct kb__check *check = user;
    kb_buf_add(&check->problems, text, strlen(text) + 1);
}

void kb__check_destroy(struct kb__check **check_p)
{
    struct kb__check *check = KB_STEAL(*check_p);
    if (check == NULL)
        return;
    check_finish(&check->check);
    kb_buf_finish(&check->problems);
    free(check);
}

static void *check_main(void *user)
{
    struct kb__check *check = user;
    struct kb_engine *e = check->check.engine;
    int rc = check_run(&check->check);
    pthread_mutex_lock(&e->lock);
    e->check_job = KB__DONE;
    e->check_rc = rc;
    pthread_mutex_unlock(&e->lock);
    kb__engine_wake(e);
    return NULL;
}

int kb_engine_check_start(struct kb_engine *e, struct kb_err *err)
{
    if (e->checking)
        return kb_err_set(err, KB_EFULL, "a check is under way");
    KB_AUTO(kb__check_destroy) struct kb__check *check = calloc(1, sizeof(*check));
    KB_ASSERT(check != NULL);
    check->check.fn = note;
    check->check.user = check;
    check->check.err = &check->err;
    int rc = check_begin(e, &check->check, err);
    if (rc < 0)
        return rc;
    e->check_job = KB__RUNNING;
    e->checking = KB_STEAL(check);
    if (e->threads && pthread_create(&e->check_thread, NULL, check_main, e->checking) == 0)
        return 0;
    e->check_thread = 0;
    check_main(e->checking);
    return 0;
}

int kb_engine_check_done(struct kb_engine *e, kb_problem_fn *fn, void *user, int *ret_rc,
                         struct kb_err *ret_err)
{
    pthread_mutex_lock(&e->lock);
    bool done = e->check_job == KB__DONE;
    if (done)
        e->check_job = KB__IDLE;
    pthread_mutex_unlock(&e->lock);
    if (!done)
        return 0;
    if (e->check_thread)
        pthread_join(e->check_thread, NULL);
    e->check_thread = 0;
    const struct kb_buf *problems = &e->checking->problems;
    for (size_t at = 0; at < problems->n; at += strlen(problems->p + at) + 1)
        fn(user, problems->p + at);
    *ret_rc = e->check_rc;
    *ret_err = e->checking->err;
    kb__check_destroy(&e->checking);
    return 1;
}
