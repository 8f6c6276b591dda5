/* read.c - get, from the cache (watch_cache.c) for what is read often, else from the store. */
#include "actors/api/watch.h"

#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/key.h"

#include <stdlib.h>

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
        kb__cache_keep(api, get->look.kind, body);
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
    entry->used = true;
    if (get->look.accept.form == KB_FORM_OBJECT) {
        kb_str text = kb_blob_str(kb_cache_json(hub->cache, entry));
        kb_buf_reserve(&json, text.n + 1); /* with the newline */
        kb_buf_add_str(&json, text);
    } else {
        kb__render(&get->look, kb_doc_root(entry->doc), entry->rev,
                   kb_clock_wall_us(kb_actor_clock(api->actor)), true, &json);
    }
    kb_buf_putc(&json, '\n');
    kb__answer_json(api, get->op.req, 200, &get->look.accept, NULL, &json);
}

static void get_ready(struct kb__read *read, struct kb__hub *hub)
{
    struct get *get = KB_CONTAINER(read, struct get, read);
    static const struct kb_err missing = {.code = KB_ENOTFOUND};
    char key[KB_KEY_MAX_BYTES + 1];
    get_key(get, key);
    struct kb_cache_entry *entry = hub ? kb_cache_get(hub->cache, kb_str_of(key)) : NULL;
    if (entry == NULL && (hub == NULL || !hub->whole)) {
        get_from_store(get, key);
        return;
    }
    get->op.api->cached_gets++;
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
    struct kb__hub *hub = kb__cached_one(api, route->kind, kb_str_of(key));
    if (hub)
        kb__hub_read(hub, &get->read);
    else
        get_from_store(get, key);
}
