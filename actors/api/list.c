/* list.c - lists, from the cache (watch_cache.c) for what is read often, else from the store.
 *
 * There, a list is read from the store page by page at one revision, whatever its size, and turned
 * into JSON as the pages come. A small one is one answer; when it grows past STREAM_BYTES it
 * becomes a stream, which waits for its client before it reads on, so no list needs more memory
 * here than a few pages. A client's `limit` gives one chunk and a token that names revision and
 * last key: the chunks together are one exact snapshot.
 *
 * From the cache it is an answer in pieces: the objects' own texts, as they stand there, with
 * commas between. Written into one text first, most of a list's time would be fresh memory. */
#include "actors/api/watch.h"

#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/model/json.h"
#include "bus/model/key.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_ITEMS = 1000, STREAM_BYTES = 4 * 1024 * 1024, LIMIT_MAX = 10000 };

struct list {
    struct kb__op op;
    struct kb__look look;
    struct kb_selection selection;
    struct kb_buf view;
    bool exact, streaming, waiting, any;
    int64_t limit; /* of the client; 0: none */
    int64_t rev;   /* of the snapshot; 0: not known yet */
    int64_t at_least_rev;
    int64_t left; /* items behind this chunk, when the store says */
    int64_t now_us;
    size_t count;
    char after[KB_KEY_MAX_BYTES + 1];
    struct kb_buf items;
    struct kb_blob **pieces,
        *comma; /* of the answer: the head's place, then objects of the cache */
    size_t pieces_n, pieces_cap;
    struct kb__read read;
    uint64_t call;
};

static void list_free(struct list *list)
{
    kb_selection_finish(&list->selection);
    kb_buf_finish(&list->view);
    kb_buf_finish(&list->items);
    for (size_t i = 0; i < list->pieces_n; i++)
        kb_blob_unref(&list->pieces[i]);
    free(list->pieces);
    kb_blob_unref(&list->comma);
    free(list);
}

static void list_closed(struct kb__op *op)
{
    struct list *list = (struct list *)op;
    if (list->call)
        kb_call_cancel(op->api->store, list->call);
    kb_list_remove(&list->read.link);
    list_free(list);
}

/* {"rv": REV, "start": KEY without its resource}, opaque to clients. */
static void token_make(const struct list *list, struct kb_buf *out)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    const char *start = strchr(list->after, '/');
    kb_buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":", (long long)list->rev);
    kb_json_write_str(&json, kb_str_of(start ? start + 1 : ""));
    kb_buf_putc(&json, '}');
    kb_base64url_encode(kb_buf_str(&json), out);
}

static bool token_read(struct list *list, kb_str token)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    if (token.n > 2 * KB_KEY_MAX_BYTES + 200 || kb_base64url_decode(token, &json) < 0 ||
        kb_json_doc(kb_buf_str(&json), &doc, NULL) < 0)
        return false;
    list->rev = kb_val_int_at(kb_doc_root(doc), "rv", 0);
    kb_str start = kb_val_str_at(kb_doc_root(doc), "start");
    int n = snprintf(list->after, sizeof(list->after), KB_STR_FMT "/" KB_STR_FMT,
                     KB_STR_ARG(list->look.kind->resource), KB_STR_ARG(start));
    return list->rev > 0 && start.n > 0 && n > 0 && (size_t)n < sizeof(list->after);
}

static void list_failed(struct list *list, const struct kb_err *err)
{
    struct kb__api *api = list->op.api;
    if (list->streaming)
        kb_http_abort(list->op.req);
    else if (err->code == KB_EGONE && list->after[0])
        kb__answer_code(api, list->op.req, 410, "Expired",
                        "The provided continue parameter is too old to display a consistent list "
                        "result. You must start a new list without the continue parameter.");
    else
        kb__answer_err(api, list->op.req, err);
    list_free(list);
}

/* Takes the reference. The first piece is the head's: NULL until the rest is known. */
static void add_piece(struct list *list, struct kb_blob *piece)
{
    KB_GROW(list->pieces, list->pieces_n + 1, list->pieces_cap, 16);
    if (list->pieces_n == 0)
        list->pieces[list->pieces_n++] = NULL;
    list->pieces[list->pieces_n++] = piece;
}

/* The chunk, or the whole of a list, as one answer. */
static void list_answer(struct list *list, bool more)
{
    KB_AUTO(kb_buf_finish) struct kb_buf token = {0};
    struct kb_buf head = {0};
    if (more)
        token_make(list, &token);
    kb__render_list_head(&list->look, list->rev, kb_buf_str(&token), list->left, &head);
    kb__render_list_tail(&list->items);
    add_piece(list, kb_blob_take(&list->items));
    list->pieces[0] = kb_blob_take(&head);
    kb__answer_pieces(list->op.api, list->op.req, &list->look.accept, list->pieces, list->pieces_n);
    list->pieces_n = 0;
    list_free(list);
}

static int write_items(struct list *list)
{
    struct kb_blob *blob = kb_blob_take(&list->items);
    int rc = kb_http_stream_write(list->op.req, blob);
    kb_blob_unref(&blob);
    return rc;
}

static void list_stream(struct list *list)
{
    struct kb_http_header header = {"cache-control", "no-cache, private"};
    struct kb_http_head head = {.status = 200,
                                .content_type = kb_accept_content_type(&list->look.accept),
                                .headers = &header,
                                .headers_n = 1,
                                .compress = true};
    struct kb_buf json = {0};
    kb__count_answer(list->op.api, 200);
    kb_http_stream_start(list->op.req, &head);
    kb__render_list_head(&list->look, list->rev, (kb_str){0}, 0, &json);
    struct kb_blob *blob = kb_blob_take(&json);
    kb_http_stream_write(list->op.req, blob);
    kb_blob_unref(&blob);
    list->streaming = true;
}

static void next_page(struct list *list);

static void list_drain(struct kb__op *op)
{
    struct list *list = (struct list *)op;
    if (list->waiting && list->call == 0) {
        list->waiting = false;
        next_page(list);
    }
}

static void list_end_stream(struct list *list)
{
    kb__render_list_tail(&list->items);
    if (write_items(list) == 0)
        kb_http_stream_end(list->op.req);
    else
        return; /* on_close follows, and frees */
    list_free(list);
}

/* The page's items that are selected, up to the client's limit; true when one was left out. */
static bool take_items(struct list *list, kb_val items)
{
    for (struct kb_iter it = kb_iter(items); kb_iter_next(&it);) {
        kb_val doc = kb_val_get(it.val, "doc");
        if (list->limit > 0 && list->count == (size_t)list->limit)
            return true;
        if (list->call == 0) /* else prefetch() has noted the last one */
            kb_str_copy(kb_val_str(kb_val_get(it.val, "key")), list->after, sizeof(list->after));
        if (!list->exact && !kb_selection_match(&list->selection, doc))
            continue;
        if (list->any)
            kb_buf_putc(&list->items, ',');
        list->any = true;
        list->count++;
        kb__render_item(&list->look, doc, kb_val_int(kb_val_get(it.val, "rev"), 0), list->now_us,
                        &list->items);
    }
    return false;
}

/* Asked for a revision that the store has not reached. */
static bool too_new(struct list *list)
{
    if (list->at_least_rev <= list->rev)
        return false;
    struct kb_status status = {.retry_after_s = 1};
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    kb_status_set(&status, &arena, 504, "Timeout",
                  "Too large resource version: %lld, current: %lld", (long long)list->at_least_rev,
                  (long long)list->rev);
    kb__answer_status(list->op.api, list->op.req, &status);
    list_free(list);
    return true;
}

struct page {
    kb_val items;
    bool more;
    int64_t left;
};

/* One walk over the answer: each lookup by name would walk over all items again. */
static struct page read_page(struct list *list, kb_val body)
{
    struct page page = {0};
    for (struct kb_iter it = kb_iter(body); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "rev"))
            list->rev = kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "items"))
            page.items = it.val;
        else if (kb_str_is(it.key, "more"))
            page.more = kb_val_bool(it.val, false);
        else if (kb_str_is(it.key, "left"))
            page.left = kb_val_int(it.val, 0);
    }
    return page;
}

static bool too_far_ahead(const struct list *list)
{
    return list->streaming && kb_http_stream_queued(list->op.req) > STREAM_BYTES;
}

/* Ask for the page behind this one before this one is turned into JSON: the store reads while we
 * write. */
static void prefetch(struct list *list, kb_val items)
{
    for (struct kb_iter it = kb_iter(items); kb_iter_next(&it);)
        if (it.left == 0)
            kb_str_copy(kb_val_str(kb_val_get(it.val, "key")), list->after, sizeof(list->after));
    next_page(list);
}

/* The client's limit is reached, or there is no more. */
static void list_complete(struct list *list, bool more)
{
    if (list->streaming)
        list_end_stream(list);
    else
        list_answer(list, more);
}

static void list_page(void *user, const struct kb_err *err, kb_val body)
{
    struct list *list = user;
    list->call = 0;
    if (err) {
        list_failed(list, err);
        return;
    }
    struct page page = read_page(list, body);
    if (too_new(list))
        return;
    bool ahead = page.more && list->limit == 0 && !too_far_ahead(list);
    if (ahead)
        prefetch(list, page.items);
    bool cut = take_items(list, page.items);
    bool more = cut || page.more;
    list->left = list->exact && !cut ? page.left : 0;
    if (!more || (list->limit > 0 && list->count >= (size_t)list->limit)) {
        list_complete(list, more);
        return;
    }
    bool yaml = list->look.accept.encoding == KB_ENCODING_YAML;
    if (!list->streaming && list->limit == 0 && !yaml && list->items.n > STREAM_BYTES)
        list_stream(list);
    if (list->streaming && write_items(list) < 0)
        return; /* on_close follows */
    list->waiting = !ahead && too_far_ahead(list);
    if (!ahead && !list->waiting)
        next_page(list);
}

static void next_page(struct list *list)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    int64_t left = list->limit > 0 && list->exact ? list->limit - (int64_t)list->count : PAGE_ITEMS;
    kb_w_map(&w);
    kb_w_kstr(&w, "view", kb_buf_str(&list->view));
    kb_w_kint(&w, "limit", left < PAGE_ITEMS ? left : PAGE_ITEMS);
    if (list->after[0])
        kb_w_kcstr(&w, "after", list->after);
    if (list->rev > 0)
        kb_w_kint(&w, "rev", list->rev);
    kb_w_end(&w);
    list->call =
        kb_call(list->op.api->store, "store.list", kb_w_val(&w), KB__CALL_MS, list_page, list);
}

/* ---- list, from the cache ---- */

static bool selected(const struct list *list, const struct kb_cache_entry *entry)
{
    const struct kb_selection *s = &list->selection;
    return (s->name.n == 0 || kb_str_eq(s->name, entry->name)) &&
           (!kb_selection_is_filtered(s) || kb_selection_match(s, kb_doc_root(entry->doc)));
}

/* The entries of the namespace asked for, or all. */
static size_t cached_range(struct list *list, struct kb__hub *hub,
                           struct kb_cache_entry *const **ret)
{
    struct kb_cache_entry *const *all;
    size_t n = kb_cache_all(hub->cache, &all), from = 0;
    kb_str ns = list->selection.ns;
    if (ns.n) {
        KB_AUTO(kb_auto_free)
        char *prefix =
            kb_strf(KB_STR_FMT "/" KB_STR_FMT "/", KB_STR_ARG(hub->kind->resource), KB_STR_ARG(ns));
        from = kb_cache_from(hub->cache, kb_str_of(prefix));
        prefix[strlen(prefix) - 1] = '/' + 1; /* behind all that begin with it */
        n = kb_cache_from(hub->cache, kb_str_of(prefix));
    }
    *ret = all + from;
    return n - from;
}

static void add_entry(struct list *list, struct kb__hub *hub, struct kb_cache_entry *entry)
{
    bool object = list->look.accept.form == KB_FORM_OBJECT;
    if (list->any && object)
        add_piece(list, kb_blob_ref(list->comma));
    else if (list->any)
        kb_buf_putc(&list->items, ',');
    list->any = true;
    list->count++;
    if (object)
        add_piece(list, kb_blob_ref(kb_cache_json(hub->cache, entry)));
    else
        kb__render_item(&list->look, kb_doc_root(entry->doc), entry->rev, list->now_us,
                        &list->items);
}

static void list_ready(struct kb__read *read, struct kb__hub *hub)
{
    struct list *list = KB_CONTAINER(read, struct list, read);
    struct kb_cache_entry *const *entries;
    if (hub == NULL) {
        next_page(list);
        return;
    }
    list->rev = hub->cache_rev;
    if (too_new(list))
        return;
    size_t n = cached_range(list, hub, &entries), at = 0;
    bool full = false;
    list->comma = kb_blob_new(kb_str_of(","));
    for (; at < n && !full; at++) {
        if (!selected(list, entries[at]))
            continue;
        full = list->limit > 0 && list->count == (size_t)list->limit;
        if (full)
            break;
        add_entry(list, hub, entries[at]);
        if (list->limit > 0)
            kb_str_copy(entries[at]->key, list->after, sizeof(list->after));
    }
    list->left = full && !kb_selection_is_filtered(&list->selection) ? (int64_t)(n - at) : 0;
    list_answer(list, full);
}

static int read_options(struct list *list, struct kb_http_req *req, struct kb_err *err)
{
    kb_str limit = kb__param(req, "limit"), token = kb__param(req, "continue");
    kb_str rev = kb__param(req, "resourceVersion"), match = kb__param(req, "resourceVersionMatch");
    int64_t rev_n = 0;
    if (limit.n && (!kb_str_i64(limit, &list->limit) || list->limit < 0))
        return kb_err_set(err, KB_EINVAL, "limit: Invalid value: \"" KB_STR_FMT "\"",
                          KB_STR_ARG(limit));
    if (list->limit > LIMIT_MAX)
        list->limit = LIMIT_MAX;
    if (rev.n && (!kb_str_i64(rev, &rev_n) || rev_n < 0))
        return kb_err_set(err, KB_EINVAL, "resourceVersion: Invalid value: \"" KB_STR_FMT "\"",
                          KB_STR_ARG(rev));
    if (token.n) {
        if (!token_read(list, token))
            return kb_err_set(err, KB_EINVAL, "continue key is not valid");
        if (rev_n > 0)
            return kb_err_set(err, KB_EINVAL,
                              "specifying resource version is not allowed when using continue");
        return 0;
    }
    if (kb_str_is(match, "Exact"))
        list->rev = rev_n;
    else
        list->at_least_rev = rev_n;
    return 0;
}

void kb__list(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    struct kb__look look;
    struct kb_err err = {0};
    if (!kb__look_of(api, req, route->kind, &look))
        return;
    struct list *list = calloc(1, sizeof(*list));
    KB_ASSERT(list != NULL);
    list->look = look;
    list->now_us = kb_clock_wall_us(kb_actor_clock(api->actor));
    if (read_options(list, req, &err) < 0 ||
        kb_selection_parse(route->kind, route->ns, kb__param(req, "labelSelector"),
                           kb__param(req, "fieldSelector"), &list->selection, &err) < 0) {
        kb__answer_err(api, req, &err);
        list_free(list);
        return;
    }
    kb_selection_view(&list->selection, &list->view, &list->exact);
    list->op.closed = list_closed;
    list->op.drain = list_drain;
    list->read.ready = list_ready;
    kb_list_init(&list->read.link);
    kb__op_begin(&list->op, api, req);
    struct kb__hub *hub = list->rev == 0 ? kb__cached_all(api, route->kind) : NULL;
    if (hub)
        kb__hub_read(hub, &list->read);
    else
        next_page(list);
}
