#include "actors/runtime/events.h"

#include "bus/base/check.h"
#include "bus/model/meta.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    SIMILAR_MAX = 10,
    BURST = 25,
    MESSAGE_MAX = 1024,
};
static const int64_t similar_window_us = INT64_C(600) * 1000000;
static const int64_t refill_us = INT64_C(300) * 1000000;

/* One thing that is remembered, under a text that begins with what it is: 'e' an event that was
 * sent, 's' a group of similar ones, 't' the tokens of an object. */
struct record {
    struct kb_link link;
    int64_t first_us, last_us;
    uint64_t count;   /* e: occurrences; s: different messages in the window */
    uint64_t last_id; /* s: of the message seen last */
    double tokens;    /* t */
    char *name;       /* e: of the Event object; NULL once it is lost */
    char *message;    /* e: of the last occurrence, when it came while the write was under way */
    bool busy;        /* e: a write is not answered */
    size_t n;
    char key[];
};

void kb_events_init(struct kb_events *events)
{
    *events = (struct kb_events){0};
    kb_list_init(&events->recent);
}

static void record_unname(struct kb_events *events, struct record *r)
{
    if (r->name)
        kb_map_del(&events->named, kb_str_of(r->name));
    free(r->name);
    free(r->message);
    r->name = r->message = NULL;
    r->busy = false;
}

static void record_free(struct kb_events *events, struct record *r)
{
    kb_list_remove(&r->link);
    record_unname(events, r);
    kb_map_del(&events->known, kb_str_n(r->key, r->n));
    free(r);
    events->count--;
}

void kb_events_finish(struct kb_events *events)
{
    while (!kb_list_empty(&events->recent))
        record_free(events, KB_CONTAINER(events->recent.next, struct record, link));
    kb_map_finish(&events->known);
    kb_map_finish(&events->named);
    kb_events_init(events);
}

static struct record *record_use(struct kb_events *events, kb_str key, int64_t now_us)
{
    struct record *r = kb_map_get(&events->known, key);
    if (r == NULL) {
        if (events->count == KB_EVENTS_REMEMBERED)
            record_free(events, KB_CONTAINER(events->recent.next, struct record, link));
        r = calloc(1, sizeof(*r) + key.n);
        KB_ASSERT(r != NULL);
        r->n = key.n;
        memcpy(r->key, key.p, key.n);
        r->first_us = r->last_us = now_us;
        r->tokens = BURST;
        kb_map_put(&events->known, key, r);
        events->count++;
    }
    kb_list_remove(&r->link);
    kb_list_push(&events->recent, &r->link);
    return r;
}

static kb_str identity(struct kb_arena *a, char what, const struct kb_event_in *in,
                       const char *message)
{
    kb_str ns = kb_meta_ns(in->about), name = kb_meta_name(in->about), uid = kb_meta_uid(in->about);
    return kb_arena_printf(a, "%c%s|%s|" KB_STR_FMT "|" KB_STR_FMT "|" KB_STR_FMT "|%s|%s|%s", what,
                           in->source, in->kind, KB_STR_ARG(ns), KB_STR_ARG(name), KB_STR_ARG(uid),
                           what == 't' ? "" : in->type, what == 't' ? "" : in->reason, message);
}

static bool token_taken(struct kb_events *events, const struct kb_event_in *in, int64_t now_us,
                        struct kb_arena *a)
{
    struct record *r = record_use(events, identity(a, 't', in, ""), now_us);
    r->tokens += (double)(now_us - r->last_us) / (double)refill_us;
    if (r->tokens > BURST)
        r->tokens = BURST;
    r->last_us = now_us;
    if (r->tokens < 1)
        return false;
    r->tokens -= 1;
    return true;
}

/* The message to write: the same, or the combined one when there are too many different ones. */
static const char *combined(struct kb_events *events, const struct kb_event_in *in, int64_t now_us,
                            struct kb_arena *a)
{
    struct record *r = record_use(events, identity(a, 's', in, ""), now_us);
    uint64_t id = kb_hash64(in->message, strlen(in->message)) | 1;
    if (now_us - r->first_us > similar_window_us) {
        r->first_us = now_us;
        r->count = 0;
        r->last_id = 0;
    }
    if (id != r->last_id)
        r->count++;
    r->last_id = id;
    if (r->count <= SIMILAR_MAX)
        return in->message;
    return kb_arena_printf(a, "(combined from similar events): %s", in->message).p;
}

static struct kb_node *involved(struct kb_arena *a, const struct kb_event_in *in)
{
    struct kb_node *ref = kb_node_map(a);
    kb_node_set_cstr(a, ref, "apiVersion", in->api_version);
    kb_node_set_cstr(a, ref, "kind", in->kind);
    kb_node_set_str(a, ref, "name", kb_meta_name(in->about));
    if (kb_meta_ns(in->about).n)
        kb_node_set_str(a, ref, "namespace", kb_meta_ns(in->about));
    if (in->resource_version.n)
        kb_node_set_str(a, ref, "resourceVersion", in->resource_version);
    kb_node_set_str(a, ref, "uid", kb_meta_uid(in->about));
    return ref;
}

static struct kb_node *whole(struct kb_arena *a, const struct kb_event_in *in,
                             const struct record *r, kb_str ns, const char *message)
{
    struct kb_node *event = kb_node_map(a);
    kb_node_set_cstr(a, event, "apiVersion", "v1");
    kb_node_set_cstr(a, event, "kind", "Event");
    kb_node_set_cstr(a, event, "metadata.name", r->name);
    kb_node_set_str(a, event, "metadata.namespace", ns);
    kb_node_set(a, event, "involvedObject", involved(a, in));
    kb_node_set_cstr(a, event, "type", in->type);
    kb_node_set_cstr(a, event, "reason", in->reason);
    kb_node_set_cstr(a, event, "message", message);
    kb_node_set_cstr(a, event, "source.component", in->source);
    kb_node_set_cstr(a, event, "reportingComponent", in->source);
    kb_node_set_cstr(a, event, "reportingInstance", "");
    kb_node_set(a, event, "firstTimestamp", kb_node_time(a, r->first_us));
    kb_node_set(a, event, "lastTimestamp", kb_node_time(a, r->last_us));
    kb_node_set_int(a, event, "count", (int64_t)r->count);
    return event;
}

static struct kb_node *again(struct kb_arena *a, const struct record *r, const char *message)
{
    struct kb_node *patch = kb_node_map(a);
    kb_node_set_int(a, patch, "count", (int64_t)r->count);
    kb_node_set(a, patch, "lastTimestamp", kb_node_time(a, r->last_us));
    kb_node_set_cstr(a, patch, "message", message);
    return patch;
}

enum kb_event_action kb_events_add(struct kb_events *events, const struct kb_event_in *in,
                                   int64_t now_us, struct kb_arena *a, struct kb_node **ret,
                                   kb_str *ret_ns, kb_str *ret_name)
{
    const char *message = combined(events, in, now_us, a);
    const char *identified =
        message == in->message ? message : "(combined from similar events)"; /* one of them */
    struct record *r = record_use(events, identity(a, 'e', in, identified), now_us);
    r->count++;
    r->last_us = now_us;
    if (strlen(message) > MESSAGE_MAX)
        message = kb_arena_printf(a, "%.*s...", MESSAGE_MAX - 3, message).p;
    if (r->busy) {
        free(r->message);
        r->message = kb_strf("%s", message);
        return KB_EVENT_DROP;
    }
    if (!token_taken(events, in, now_us, a))
        return KB_EVENT_DROP;
    kb_str ns = kb_meta_ns(in->about);
    *ret_ns = ns.n ? ns : kb_str_of("default");
    bool known = r->name != NULL;
    if (!known) {
        kb_str name = kb_meta_name(in->about);
        r->name = kb_strf("%.*s.%016" PRIx64, name.n > 200 ? 200 : (int)name.n, name.p,
                          (uint64_t)now_us * 1000 + events->count % 1000);
        kb_map_put(&events->named, kb_str_of(r->name), r);
    }
    r->busy = true;
    *ret_name = kb_arena_str(a, kb_str_of(r->name));
    *ret = known ? again(a, r, message) : whole(a, in, r, *ret_ns, message);
    return known ? KB_EVENT_PATCH : KB_EVENT_CREATE;
}

enum kb_event_action kb_events_answered(struct kb_events *events, kb_str name, bool gone,
                                        struct kb_arena *a, struct kb_node **ret)
{
    struct record *r = kb_map_get(&events->named, name);
    if (r == NULL)
        return KB_EVENT_DROP;
    r->busy = false;
    if (gone) {
        record_unname(events, r);
        r->count = 0;
        return KB_EVENT_DROP;
    }
    if (r->message == NULL)
        return KB_EVENT_DROP;
    *ret = again(a, r, r->message);
    free(r->message);
    r->message = NULL;
    r->busy = true;
    return KB_EVENT_PATCH;
}
