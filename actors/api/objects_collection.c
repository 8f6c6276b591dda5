/* objects_collection.c - deletecollection: list, then delete what was listed, many in one
 * transaction.
 *
 * A page of objects becomes one transaction of the store, each operation on the condition that its
 * object is still as it was listed. If one is not, the page is deleted object by object, so that a
 * single race costs one page, not the call. Pages are of one snapshot: what is created meanwhile
 * stays. */
#include "actors/api/objects_shell.h"

#include "bus/base/check.h"
#include "bus/model/key.h"
#include "bus/model/selector.h"

#include <ctype.h>
#include <stdlib.h>

enum { PAGE = 500 };

struct collection {
    struct kb_link link;
    struct kb_objects *objects;
    struct kb_arena arena;
    struct kb_object_request request;
    uint64_t id, call;
    kb_object_done_fn *done;
    void *user;
    struct kb_field_selector *fields;
    char *view;
    struct kb_buf after; /* key of the last one listed */
    int64_t rev;         /* of the snapshot */
    bool more;

    struct kb_object_op *ops[PAGE]; /* of this page's transaction */
    size_t nops;
    size_t running; /* tasks of single deletions */
    uint64_t task_ids[PAGE];
    bool failed;
    struct kb_doc *failure;
    int failure_code;
};

static void list_page(struct collection *c);

static void collection_free(struct collection *c)
{
    kb_list_remove(&c->link);
    for (size_t i = 0; i < c->nops; i++)
        kb_object_op_release(&c->ops[i]);
    kb_field_selector_destroy(&c->fields);
    kb_buf_finish(&c->after);
    kb_arena_finish(&c->arena);
    kb_doc_destroy(&c->failure);
    free(c->view);
    free(c);
}

static void finish(struct collection *c, int code, kb_val status)
{
    struct kb_object_reply reply = {.code = code, .doc = status, .failed = code >= 400};
    kb_list_remove(&c->link);
    c->done(c->user, &reply);
    collection_free(c);
}

static void finish_with(struct collection *c, const struct kb_status *status)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_status_write(status, &w);
    finish(c, status->code ? status->code : 200, kb_w_val(&w));
}

static void finish_with_err(struct collection *c, const struct kb_err *err)
{
    struct kb_status status = {0};
    kb_status_of_err(&status, &c->arena, err);
    finish_with(c, &status);
}

static void page_done(struct collection *c)
{
    if (c->running)
        return;
    if (c->failed)
        finish(c, c->failure_code, kb_doc_root(c->failure));
    else if (c->more)
        list_page(c);
    else
        finish_with(c, &(struct kb_status){0});
}

/* ---- one by one ---- */

static void on_single(void *user, const struct kb_object_reply *reply)
{
    struct collection *c = user;
    c->running--;
    if (reply->failed && reply->code != 404 && !c->failed) {
        c->failed = true;
        c->failure = kb_doc_of(reply->doc);
        c->failure_code = reply->code;
    }
    page_done(c);
}

static void delete_singly(struct collection *c)
{
    size_t n = c->nops;
    c->nops = 0;
    c->running = n + 1; /* one for this function, so that the end comes last */
    for (size_t i = 0; i < n; i++) {
        c->task_ids[i] = ++c->objects->last_id;
        kb__task_start(c->objects, c->ops[i], c->task_ids[i], on_single, c);
    }
    c->running--;
    page_done(c);
}

/* ---- all at once ---- */

static void on_batch(void *user, const struct kb_err *err, kb_val body)
{
    struct collection *c = user;
    (void)body;
    c->call = 0;
    if (err && (err->code == KB_ECONFLICT || err->code == KB_ENOTFOUND || err->code == KB_EEXISTS ||
                err->code == KB_E2BIG)) {
        delete_singly(c);
        return;
    }
    if (err) {
        finish_with_err(c, err);
        return;
    }
    for (size_t i = 0; i < c->nops; i++)
        kb_object_op_release(&c->ops[i]);
    c->nops = 0;
    page_done(c);
}

static void send_batch(struct collection *c)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (c->nops == 0) {
        page_done(c);
        return;
    }
    kb_w_map(&w);
    kb_w_karray(&w, "ops");
    for (size_t i = 0; i < c->nops; i++) {
        kb_val ops = kb_val_get(kb_object_op_txn(c->ops[i]), "ops");
        for (struct kb_iter it = kb_iter(ops); kb_iter_next(&it);)
            kb_w_raw(&w, it.val);
    }
    kb_w_end(&w);
    kb__write_lease(&w, &c->request);
    kb_w_end(&w);
    c->call =
        kb_call(c->objects->store, "store.txn", kb_w_val(&w), KB_OBJECTS_TIMEOUT_MS, on_batch, c);
}

static void add_object(struct collection *c, kb_val item)
{
    struct kb_key key;
    struct kb_object_request request = c->request;
    if (kb_key_parse(kb_val_str(kb_val_get(item, "key")), &key, NULL) < 0)
        return;
    if (c->fields && !kb_field_selector_match(c->fields, kb_val_get(item, "doc")))
        return;
    request.verb = KB_VERB_DELETE;
    request.ns = key.ns;
    request.name = key.name;
    struct kb_object_op *op =
        kb_object_op_new(c->objects->core, &request, kb__objects_now_us(c->objects));
    if (kb_object_op_want(op) == KB_OP_READ)
        kb_object_op_read(op, kb_val_int(kb_val_get(item, "rev"), 0), kb_val_get(item, "doc"));
    if (kb_object_op_want(op) != KB_OP_COMMIT) { /* nothing to do, or not allowed */
        const struct kb_object_reply *reply = kb_object_op_reply(op);
        if (reply->failed && !c->failed) {
            c->failed = true;
            c->failure = kb_doc_of(reply->doc);
            c->failure_code = reply->code;
        }
        kb_object_op_release(&op);
        return;
    }
    c->ops[c->nops++] = op;
}

static void on_page(void *user, const struct kb_err *err, kb_val body)
{
    struct collection *c = user;
    c->call = 0;
    if (err) {
        finish_with_err(c, err);
        return;
    }
    c->rev = kb_val_int(kb_val_get(body, "rev"), 0);
    c->more = kb_val_bool(kb_val_get(body, "more"), false);
    for (struct kb_iter it = kb_iter(kb_val_get(body, "items")); kb_iter_next(&it);) {
        kb_buf_clear(&c->after);
        kb_buf_add_str(&c->after, kb_val_str(kb_val_get(it.val, "key")));
        if (c->nops < PAGE)
            add_object(c, it.val);
    }
    send_batch(c);
}

static void list_page(struct collection *c)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", c->view);
    kb_w_kint(&w, "limit", PAGE);
    if (c->after.n) {
        kb_w_kstr(&w, "after", kb_buf_str(&c->after));
        kb_w_kint(&w, "rev", c->rev);
    }
    kb_w_end(&w);
    c->call =
        kb_call(c->objects->store, "store.list", kb_w_val(&w), KB_OBJECTS_TIMEOUT_MS, on_page, c);
}

/* ---- the start ---- */

static void encode(struct kb_buf *out, kb_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char ch = (unsigned char)value.p[i];
        if (isalnum(ch) || (ch && strchr("-._~/", ch)))
            kb_buf_putc(out, (char)ch);
        else
            kb_buf_printf(out, "%%%02X", ch);
    }
}

static char *view_of(const struct kb_object_request *r)
{
    struct kb_buf view = {0};
    kb_buf_add_str(&view, r->kind->resource);
    if (r->label_selector.n) {
        kb_buf_puts(&view, "?labels=");
        encode(&view, r->label_selector);
    }
    if (r->ns.n) {
        kb_buf_puts(&view, r->label_selector.n ? "&ns=" : "?ns=");
        encode(&view, r->ns);
    }
    return kb_buf_steal(&view, NULL);
}

/* The body's options are read by each deletion: it is kept as bytes. */
static void keep_request(struct collection *c, const struct kb_object_request *from)
{
    struct kb_object_request *to = &c->request;
    kb_str *texts[] = {
        &to->ns,    &to->name, &to->subresource, &to->manager,        &to->user,
        &to->lease, &to->uid,  &to->body,        &to->label_selector, &to->field_selector};
    *to = *from;
    for (size_t i = 0; i < KB_COUNT(texts); i++)
        if (texts[i]->n)
            *texts[i] = kb_arena_str(&c->arena, *texts[i]);
    if (from->body_type == KB_BODY_DOC && kb_val_present(from->doc)) {
        kb_str bytes =
            kb_arena_str(&c->arena, kb_str_n((const char *)from->doc.p, kb_val_size(from->doc)));
        to->doc = (kb_val){(const uint8_t *)bytes.p, (const uint8_t *)bytes.p + bytes.n};
    }
}

bool kb__collection_start(struct kb_objects *objects, const struct kb_object_request *request,
                          uint64_t id, kb_object_done_fn *done, void *user)
{
    struct collection *c = calloc(1, sizeof(*c));
    struct kb_err err = {0};
    KB_ASSERT(c != NULL);
    *c = (struct collection){.objects = objects, .id = id, .done = done, .user = user};
    kb_list_push(&objects->collections, &c->link);
    keep_request(c, request);
    if (c->request.field_selector.n &&
        kb_field_selector_parse(c->request.field_selector, &c->fields, &err) < 0) {
        finish_with_err(c, &err);
        return false;
    }
    c->view = view_of(&c->request);
    list_page(c);
    return true;
}

static void cancel(struct collection *c)
{
    if (c->call)
        kb_call_cancel(c->objects->store, c->call);
    size_t n = c->running ? PAGE : 0;
    for (size_t i = 0; i < n; i++)
        kb_objects_cancel(c->objects, c->task_ids[i]);
    collection_free(c);
}

bool kb__collection_cancel(struct kb_objects *objects, uint64_t id)
{
    KB_LIST_EACH(link, &objects->collections)
    {
        struct collection *c = KB_CONTAINER(link, struct collection, link);
        if (c->id == id) {
            kb_list_remove(&c->link);
            cancel(c);
            return true;
        }
    }
    return false;
}

void kb__collections_destroy(struct kb_objects *objects)
{
    while (!kb_list_empty(&objects->collections)) {
        struct collection *c = KB_CONTAINER(objects->collections.next, struct collection, link);
        kb_list_remove(&c->link);
        cancel(c);
    }
}
