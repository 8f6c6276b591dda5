/* read.c - get and list, from the cache (watch_cache.c) for what is read often, else from the
 * store.
 *
 * There, a list is read from the store page by page at one revision, whatever its size, and turned
 * into JSON as the pages come. A small one is one answer; when it grows past STREAM_BYTES it
 * becomes a stream, which waits for its client before it reads on, so no list needs more memory
 * here than a few pages. A client's `limit` gives one chunk and a token that names revision and
 * last key: the chunks together are one exact snapshot. */
#include "actors/api/watch.h"

#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/key.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_ITEMS = 1000, STREAM_BYTES = 4 * 1024 * 1024, LIMIT_MAX = 10000, LIST_WEIGHT = 40 };

/* ---- get ---- */

struct get {
    struct kb__op op;
    struct kb__look look;
    kb_str ns, name;
    struct kb__read read;
    uint64_t call;
};

static void get_closed(struct kb__op *op)
{
    struct get *get = (struct get *)op;
    if (get->call)
        kb_call_cancel(op->api->store, get->call);
    kb_list_remove(&get->read.link);
    free(get);
}

static void get_done(void *user, const struct kb_err *err, kb_val body)
{
    struct get *get = user;
    struct kb__api *api = get->op.api;
    if (err) {
        kb__answer_store_err(api, get->op.req, get->look.kind, get->name, err);
    } else {
        struct kb_buf json = {0};
        int64_t now_us = kb_clock_wall_us(kb_actor_clock(api->actor));
        kb__render(&get->look, kb_val_get(body, "doc"), kb_val_int(kb_val_get(body, "rev"), 0),
                   now_us, true, &json);
        kb_buf_putc(&json, '\n');
        kb__answer_json(api, get->op.req, 200, &get->look.accept, NULL, &json);
    }
    free(get);
}

static bool get_key(const struct get *get, char key[KB_KEY_MAX_BYTES + 1])
{
    return kb_key_format((struct kb_key){get->look.kind->resource, get->ns, get->name}, key,
                         KB_KEY_MAX_BYTES + 1);
}

static void get_from_store(struct get *get, const char *key)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "key", key);
    kb_w_end(&w);
    get->call = kb_call(get->op.api->store, "store.get", kb_w_val(&w), KB__CALL_MS, get_done, get);
}

static void get_answer_entry(struct get *get, struct kb__hub *hub, struct kb_cache_entry *entry)
{
    struct kb__api *api = get->op.api;
    struct kb_buf json = {0};
    if (get->look.accept.form == KB_FORM_OBJECT)
        kb_buf_add_str(&json, kb_cache_json(hub->cache, entry));
    else
        kb__render(&get->look, kb_doc_root(entry->doc), entry->rev,
                   kb_clock_wall_us(kb_actor_clock(api->actor)), true, &json);
    kb_buf_putc(&json, '\n');
    kb__answer_json(api, get->op.req, 200, &get->look.accept, NULL, &json);
}

static void get_ready(struct kb__read *read, struct kb__hub *hub)
{
    struct get *get = KB_CONTAINER(read, struct get, read);
    static const struct kb_err missing = {.code = KB_ENOTFOUND};
    char key[KB_KEY_MAX_BYTES + 1];
    get_key(get, key);
    if (hub == NULL) {
        get_from_store(get, key);
        return;
    }
    struct kb_cache_entry *entry = kb_cache_get(hub->cache, kb_str_of(key));
    if (entry)
        get_answer_entry(get, hub, entry);
    else
        kb__answer_store_err(get->op.api, get->op.req, get->look.kind, get->name, &missing);
    free(get);
}

void kb__get(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    struct kb__look look;
    char key[KB_KEY_MAX_BYTES + 1];
    if (!kb__look_of(api, req, route->kind, &look))
        return;
    struct get *get = calloc(1, sizeof(*get));
    KB_ASSERT(get != NULL);
    get->look = look;
    get->ns = route->ns;
    get->name = route->name;
    get->read.ready = get_ready;
    kb_list_init(&get->read.link);
    if (!get_key(get, key)) {
        kb__answer_store_err(api, req, route->kind, route->name,
                             &(struct kb_err){.code = KB_ENOTFOUND});
        free(get);
        return;
    }
    get->op.closed = get_closed;
    kb__op_begin(&get->op, api, req);
    struct kb__hub *hub = kb__cached(api, route->kind, 1);
    if (hub)
        kb__hub_read(hub, &get->read);
    else
        get_from_store(get, key);
}

/* ---- list ---- */

struct list {
    struct kb__op op;
    struct kb__look look;
    struct kb_selection selection;
    struct kb_buf view;
    bool exact, streaming, waiting, any;
    bool headed;   /* the head is in `items` already */
    int64_t limit; /* of the client; 0: none */
    int64_t rev;   /* of the snapshot; 0: not known yet */
    int64_t at_least_rev;
    int64_t left; /* items behind this chunk, when the store says */
    int64_t now_us;
    size_t count;
    char after[KB_KEY_MAX_BYTES + 1];
    struct kb_buf items;
    struct kb__read read;
    uint64_t call;
};

static void list_free(struct list *list)
{
    kb_selection_finish(&list->selection);
    kb_buf_finish(&list->view);
    kb_buf_finish(&list->items);
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

/* The chunk, or the whole of a list, as one answer. */
static void list_answer(struct list *list, bool more)
{
    KB_AUTO(kb_buf_finish) struct kb_buf token = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    struct kb_buf *out = list->headed ? &list->items : &json;
    if (more)
        token_make(list, &token);
    if (!list->headed) {
        kb__render_list_head(&list->look, list->rev, kb_buf_str(&token), list->left, &json);
        kb_buf_add_str(&json, kb_buf_str(&list->items));
    }
    kb__render_list_tail(out);
    kb__answer_json(list->op.api, list->op.req, 200, &list->look.accept, NULL, out);
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
    }
    *ret = all + from;
    size_t count = 0;
    while (from + count < n && (ns.n == 0 || kb_str_eq(all[from + count]->ns, ns)))
        count++;
    return count;
}

static void add_entry(struct list *list, struct kb__hub *hub, struct kb_cache_entry *entry)
{
    if (list->any)
        kb_buf_putc(&list->items, ',');
    list->any = true;
    list->count++;
    if (list->look.accept.form == KB_FORM_OBJECT)
        kb_buf_add_str(&list->items, kb_cache_json(hub->cache, entry));
    else
        kb__render_item(&list->look, kb_doc_root(entry->doc), entry->rev, list->now_us,
                        &list->items);
}

/* Without a limit there will be no token, so the head can come first, and the whole be written in
 * place: these lists can be large. */
static void head_first(struct list *list, struct kb_cache_entry *const *entries, size_t n)
{
    size_t bytes = 512;
    for (size_t i = 0; i < n && !kb_selection_is_filtered(&list->selection); i++)
        bytes += entries[i]->json_n + 1;
    kb_buf_reserve(&list->items, bytes);
    kb__render_list_head(&list->look, list->rev, (kb_str){0}, 0, &list->items);
    list->headed = true;
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
    if (list->limit == 0)
        head_first(list, entries, n);
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
    struct kb__hub *hub = list->rev == 0 ? kb__cached(api, route->kind, LIST_WEIGHT) : NULL;
    if (hub)
        kb__hub_read(hub, &list->read);
    else
        next_page(list);
}
