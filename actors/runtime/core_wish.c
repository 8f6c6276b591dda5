/* core_wish.c - wishes: recorded by reconcile, encoded as calls of docs/protocol.md section 7. */
#include "actors/runtime/core_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct kb_wish *kb__wish_new(kb_controller *c, enum wish_kind kind, const char *resource)
{
    struct kb_wish *wish = calloc(1, sizeof(*wish));
    KB_ASSERT(wish != NULL);
    wish->kind = kind;
    wish->grace_s = -1;
    wish->resource = kb__intern(c, kb_str_of(resource));
    kb_list_init(&wish->run_link);
    kb_list_push(&c->outbox, &wish->link);
    if (c->current == NULL)
        return wish;
    wish->run = c->current;
    wish->run->open++;
    kb_list_push(&wish->run->wishes, &wish->run_link);
    return wish;
}

void kb__wish_free(struct kb_wish *wish)
{
    kb_list_remove(&wish->link);
    kb_list_remove(&wish->run_link);
    kb_doc_destroy(&wish->object);
    kb_doc_destroy(&wish->body);
    kb_doc_destroy(&wish->about);
    free(wish->ns);
    free(wish->name);
    free(wish->uid);
    free(wish);
}

static void wish_name(struct kb_wish *wish, kb_str ns, kb_str name, kb_str uid, int64_t rev)
{
    wish->ns = kb_str_dup(ns);
    wish->name = kb_str_dup(name);
    wish->uid = kb_str_dup(uid);
    wish->rev = rev;
}

static struct kb_wish *wish_about(kb_controller *c, enum wish_kind kind, const struct kb_object *of)
{
    const char *resource = kb__intern(c, of->key.resource);
    struct kb_wish *wish = kb__wish_new(c, kind, resource);
    wish_name(wish, of->key.ns, of->key.name, kb_meta_uid(of->doc), of->rev);
    return wish;
}

/* The object with apiVersion and kind, which every object that is written must say. */
static struct kb_doc *object_doc(const kb_controller *c, const char *resource,
                                 const struct kb_node *object)
{
    const struct kb_resource_info *info = kb__info(c, resource);
    struct kb_w w = {0};
    kb_w_map(&w);
    if (info && kb_node_get(object, "apiVersion") == NULL)
        kb_w_kcstr(&w, "apiVersion", info->api_version);
    if (info && kb_node_get(object, "kind") == NULL)
        kb_w_kcstr(&w, "kind", info->kind);
    for (uint32_t i = 0; i < object->count; i++) {
        kb_w_str(&w, object->items[i].key);
        kb_w_node(&w, object->items[i].val);
    }
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

struct kb_wish *kb_wish_create(kb_controller *c, const char *resource, const struct kb_node *object)
{
    KB_ASSERT(object->type == KB_MAP);
    struct kb_wish *wish = kb__wish_new(c, WISH_CREATE, resource);
    wish_name(wish, kb_node_text_at(object, "metadata.namespace"), kb_str_of(""), kb_str_of(""), 0);
    wish->object = object_doc(c, resource, object);
    return wish;
}

struct kb_wish *kb_wish_update(kb_controller *c, const struct kb_object *old,
                               const char *subresource, const struct kb_node *object)
{
    struct kb_wish *wish = wish_about(c, WISH_UPDATE, old);
    wish->subresource = subresource;
    wish->if_unchanged = true;
    wish->object = object_doc(c, wish->resource, object);
    return wish;
}

struct kb_wish *kb_wish_patch(kb_controller *c, const struct kb_object *of, const char *subresource,
                              const struct kb_node *patch)
{
    struct kb_wish *wish = wish_about(c, WISH_PATCH, of);
    wish->subresource = subresource;
    wish->object = kb_node_doc(patch);
    return wish;
}

struct kb_wish *kb_wish_delete(kb_controller *c, const struct kb_object *of)
{
    return wish_about(c, WISH_DELETE, of);
}

void kb_wish_if_unchanged(struct kb_wish *wish)
{
    wish->if_unchanged = true;
}

void kb_wish_grace(struct kb_wish *wish, int64_t grace_s)
{
    wish->grace_s = grace_s;
}

void kb_wish_propagation(struct kb_wish *wish, const char *policy)
{
    wish->propagation = policy;
}

void kb_wish_tag(struct kb_wish *wish, const char *tag)
{
    wish->tag = tag;
}

/* ---- encoding ---- */

const char *kb__wish_method(const struct kb_wish *wish)
{
    static const char *const methods[] = {"object.create", "object.update", "object.patch",
                                          "object.delete"};
    return methods[wish->kind];
}

void kb__wish_encode(kb_controller *c, struct kb_wish *wish)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", wish->resource);
    kb_w_kcstr(&w, "ns", wish->ns);
    if (wish->kind != WISH_CREATE)
        kb_w_kcstr(&w, "name", wish->name);
    if (wish->subresource)
        kb_w_kcstr(&w, "subresource", wish->subresource);
    if (wish->kind == WISH_PATCH)
        kb_w_kcstr(&w, "type", "merge");
    if (wish->object)
        kb_w_kraw(&w, wish->kind == WISH_PATCH ? "patch" : "doc", kb_doc_root(wish->object));
    if (wish->uid[0] && wish->kind != WISH_UPDATE)
        kb_w_kcstr(&w, "uid", wish->uid);
    if (wish->if_unchanged)
        kb_w_kint(&w, "rev", wish->rev);
    if (wish->grace_s >= 0)
        kb_w_kint(&w, "grace_s", wish->grace_s);
    if (wish->propagation)
        kb_w_kcstr(&w, "propagation", wish->propagation);
    kb_w_kcstr(&w, "manager", c->plugin.name);
    if (wish->run) { /* an event may be late, and come again */
        wish->epoch = c->fence.epoch;
        kb_fence_write(&c->fence, &w);
    }
    kb_w_end(&w);
    wish->body = kb_w_doc(&w);
    kb_w_finish(&w);
    kb_doc_destroy(&wish->object);
}

/* ---- events ---- */

static struct kb_doc *metadata_of(kb_val object)
{
    static const char *const kept[] = {"name", "namespace", "uid"};
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    for (size_t i = 0; i < KB_COUNT(kept); i++) {
        kb_val value = kb_val_get(kb_val_get(object, "metadata"), kept[i]);
        if (value.p)
            kb_w_kraw(&w, kept[i], value);
    }
    kb_w_end(&w);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

void kb_wish_events(struct kb_wish *wish, const struct kb_object *about, const char *ok_reason,
                    const char *ok_format, const char *failed_reason, const char *failed_format)
{
    kb_doc_destroy(&wish->about);
    wish->about = metadata_of(about->doc);
    kb_str_copy(about->key.resource, wish->about_resource, sizeof(wish->about_resource));
    snprintf(wish->about_rev, sizeof(wish->about_rev), "%" PRId64, about->rev);
    wish->ok_reason = ok_reason;
    wish->ok_format = ok_format;
    wish->failed_reason = failed_reason;
    wish->failed_format = failed_format;
}

void kb__event_write(kb_controller *c, enum wish_kind kind, kb_str ns, kb_str name,
                     const struct kb_node *node)
{
    struct run *current = c->current;
    c->current = NULL; /* an event belongs to no run: nobody waits for it */
    struct kb_wish *wish = kb__wish_new(c, kind, "events");
    c->current = current;
    c->event_wishes++;
    wish_name(wish, ns, name, kb_str_of(""), 0);
    wish->object = kb_node_doc(node);
}

void kb__event_add(kb_controller *c, kb_val about, const char *resource, const char *rev,
                   const char *type, const char *reason, const char *message)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    const struct kb_resource_info *info = kb__info(c, resource);
    struct kb_event_in in = {.source = c->plugin.name,
                             .type = type,
                             .reason = reason,
                             .message = message,
                             .about = about,
                             .api_version = info ? info->api_version : "",
                             .kind = info ? info->kind : "",
                             .resource_version = kb_str_of(rev)};
    struct kb_node *node;
    kb_str ns, name;
    if (c->event_wishes >= CORE_EVENTS_MAX)
        return;
    enum kb_event_action action = kb_events_add(&c->events, &in, c->wall_us, &a, &node, &ns, &name);
    if (action == KB_EVENT_DROP)
        return;
    kb__event_write(c, action == KB_EVENT_CREATE ? WISH_CREATE : WISH_PATCH, ns, name, node);
}

static char *replace_one(const char *format, kb_str text)
{
    const char *at = strstr(format, "%s");
    if (at == NULL)
        return kb_strf("%s", format);
    return kb_strf("%.*s" KB_STR_FMT "%s", (int)(at - format), format, KB_STR_ARG(text), at + 2);
}

void kb__wish_tell(kb_controller *c, const struct kb_wish *wish, const struct kb_err *err,
                   kb_str name)
{
    const char *reason = err ? wish->failed_reason : wish->ok_reason;
    const char *format = err ? wish->failed_format : wish->ok_format;
    if (wish->about == NULL || reason == NULL)
        return;
    KB_AUTO(kb_auto_free) char *message = replace_one(format, err ? kb_str_of(err->text) : name);
    kb__event_add(c, kb_doc_root(wish->about), wish->about_resource, wish->about_rev,
                  err ? "Warning" : "Normal", reason, message);
}

void kb_event(kb_controller *c, const struct kb_object *about, const char *type, const char *reason,
              const char *format, ...)
{
    char message[2048], resource[64], rev[24];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    kb_str_copy(about->key.resource, resource, sizeof(resource));
    snprintf(rev, sizeof(rev), "%" PRId64, about->rev);
    kb__event_add(c, about->doc, resource, rev, type, reason, message);
}
