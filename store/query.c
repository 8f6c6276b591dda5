#include "store/query.h"

#include <stdio.h>
#include <stdlib.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode(struct kb_arena *arena, kb_str text, kb_str *ret, struct kb_err *err)
{
    char *out = kb_arena_alloc(arena, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%') {
            out[n++] = text.p[i];
            continue;
        }
        int high = text.n - i > 2 ? hex(text.p[i + 1]) : -1;
        int low = high >= 0 ? hex(text.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return kb_err_set(err, KB_EINVAL, "view: '" KB_STR_FMT "' is badly encoded",
                              KB_STR_ARG(text));
        out[n++] = (char)(high * 16 + low);
        i += 2;
    }
    *ret = kb_str_n(out, n);
    return 0;
}

static int parse_shard(struct kb_query *q, kb_str value, struct kb_err *err)
{
    kb_str rest = value, first = kb_str_cut(&rest, '/');
    uint64_t i, n;
    if (rest.p == NULL || !kb_str_u64(first, &i) || !kb_str_u64(rest, &n) || n == 0 || i >= n ||
        n > 65536)
        return kb_err_set(err, KB_EINVAL, "view: owner-shard=" KB_STR_FMT " is not I/N",
                          KB_STR_ARG(value));
    q->shard = (uint32_t)i;
    q->shards = (uint32_t)n;
    return 0;
}

static int add_key(struct kb_query *q, const struct kb_resource *declared, kb_str name,
                   kb_str value, struct kb_err *err)
{
    bool plain = kb_str_is(name, "ns") || kb_str_is(name, "name");
    const struct kb_index *index = plain ? NULL : kb_index_find(declared, name);
    if (!plain && index == NULL)
        return kb_err_set(err, KB_EINVAL,
                          "view: '" KB_STR_FMT "' has no key or index '" KB_STR_FMT "'",
                          KB_STR_ARG(q->resource), KB_STR_ARG(name));
    if (q->n == KB_QUERY_KEYS_MAX)
        return kb_err_set(err, KB_EINVAL, "view: more than %d keys", KB_QUERY_KEYS_MAX);
    size_t at = q->n++;
    for (; at > 0 && kb_str_cmp(q->keys[at - 1].name, name) > 0; at--)
        q->keys[at] = q->keys[at - 1];
    if (at > 0 && kb_str_eq(q->keys[at - 1].name, name))
        return kb_err_set(err, KB_EINVAL, "view: '" KB_STR_FMT "' stands twice", KB_STR_ARG(name));
    /* Its own: a declaration may replace the index while the query is in use. */
    const char *path = index ? kb_arena_str(&q->arena, kb_str_of(index->path)).p : NULL;
    q->keys[at] = (struct kb_query_key){name, value, path};
    return 0;
}

static int parse_pair(struct kb_query *q, const struct kb_resource *declared, kb_str pair,
                      struct kb_err *err)
{
    kb_str rest = pair, name = kb_str_cut(&rest, '='), value;
    if (rest.p == NULL)
        return kb_err_set(err, KB_EINVAL, "view: '" KB_STR_FMT "' is not KEY=VALUE",
                          KB_STR_ARG(pair));
    if (decode(&q->arena, rest, &value, err) < 0)
        return -err->code;
    if (kb_str_is(name, "owner-shard"))
        return parse_shard(q, value, err);
    if (kb_str_is(name, "with")) {
        q->with_old = kb_str_is(value, "old");
        return q->with_old ? 0
                           : kb_err_set(err, KB_EINVAL, "view: with='" KB_STR_FMT "' is unknown",
                                        KB_STR_ARG(value));
    }
    if (kb_str_is(name, "fields")) {
        kb_keep_destroy(&q->fields);
        q->fields = kb_keep_new(value);
        q->fields_text = value;
        return 0;
    }
    if (kb_str_is(name, "labels")) {
        kb_selector_destroy(&q->labels);
        return kb_selector_parse(value, &q->labels, err);
    }
    return add_key(q, declared, name, value, err);
}

int kb_query_parse(kb_str text, const struct kb_indices *declared, struct kb_query *ret_query,
                   struct kb_err *err)
{
    KB_AUTO(kb_query_finish) struct kb_query q = {0};
    if (text.n > KB_VIEW_MAX_BYTES)
        return kb_err_set(err, KB_EINVAL, "view: longer than %u bytes", KB_VIEW_MAX_BYTES);
    kb_str rest = kb_arena_str(&q.arena, text);
    q.resource = kb_str_cut(&rest, '?');
    if (!kb_resource_is_good(q.resource))
        return kb_err_set(err, KB_EINVAL, "view: '" KB_STR_FMT "' names no resource",
                          KB_STR_ARG(text));
    const struct kb_resource *indices = kb_indices_of(declared, q.resource);
    while (rest.p) {
        int rc = parse_pair(&q, indices, kb_str_cut(&rest, '&'), err);
        if (rc < 0)
            return rc;
    }
    *ret_query = q;
    q = (struct kb_query){0};
    return 0;
}

void kb_query_finish(struct kb_query *q)
{
    kb_selector_destroy(&q->labels);
    kb_keep_destroy(&q->fields);
    kb_arena_finish(&q->arena);
    *q = (struct kb_query){0};
}

bool kb_query_reads_doc(const struct kb_query *q)
{
    bool reads = q->labels || q->shards || q->with_old;
    for (size_t i = 0; i < q->n; i++)
        reads |= q->keys[i].path != NULL;
    return reads;
}

/* ---- what an object has ---- */

static kb_str value_of(const struct kb_query_key *k, struct kb_key key, kb_val doc,
                       char scratch[KB_VAL_TEXT_BYTES])
{
    if (k->path)
        return kb_index_value(k->path, doc, scratch);
    return kb_str_is(k->name, "ns") ? key.ns : key.name;
}

static uint32_t shard_of(kb_val doc, uint32_t shards)
{
    kb_str uid = kb_doc_owner_uid(doc);
    if (uid.n == 0)
        uid = kb_val_str_at(doc, "metadata.uid");
    return (uint32_t)(kb_hash64(uid.p, uid.n) % shards);
}

bool kb_query_match(const struct kb_query *q, struct kb_key key, kb_val doc)
{
    char scratch[KB_VAL_TEXT_BYTES];
    for (size_t i = 0; i < q->n; i++)
        if (!kb_str_eq(value_of(&q->keys[i], key, doc, scratch), q->keys[i].value))
            return false;
    if (q->shards && shard_of(doc, q->shards) != q->shard)
        return false;
    return q->labels == NULL || kb_selector_match_object(q->labels, doc);
}

/* ---- shapes ---- */

void kb_query_shape(const struct kb_query *q, struct kb_buf *out)
{
    for (size_t i = 0; i < q->n; i++) {
        kb_buf_add_str(out, q->keys[i].name);
        kb_buf_putc(out, '&');
    }
    kb_buf_printf(out, "%u%c", q->shards, q->with_old ? '+' : '-');
    if (q->fields) {
        kb_buf_printf(out, "%zu:", q->fields_text.n);
        kb_buf_add_str(out, q->fields_text);
    }
    if (q->labels) {
        kb_buf_putc(out, kb_selector_is_nothing(q->labels) ? '!' : '=');
        kb_selector_format(q->labels, out);
    }
}

static void add_value(struct kb_buf *out, kb_str value)
{
    uint32_t n = (uint32_t)value.n;
    kb_buf_add(out, &n, sizeof(n));
    kb_buf_add_str(out, value);
}

void kb_query_values(const struct kb_query *q, struct kb_buf *out)
{
    for (size_t i = 0; i < q->n; i++)
        add_value(out, q->keys[i].value);
    if (q->shards)
        kb_buf_add(out, &q->shard, sizeof(q->shard));
}

bool kb_query_values_of(const struct kb_query *q, struct kb_key key, kb_val doc, struct kb_buf *out)
{
    char scratch[KB_VAL_TEXT_BYTES];
    if (q->labels && !kb_selector_match_object(q->labels, doc))
        return false;
    for (size_t i = 0; i < q->n; i++)
        add_value(out, value_of(&q->keys[i], key, doc, scratch));
    if (q->shards) {
        uint32_t shard = shard_of(doc, q->shards);
        kb_buf_add(out, &shard, sizeof(shard));
    }
    return true;
}
