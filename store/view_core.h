/* The views that somebody subscribes to, and what each change means for them. Pure.
 *
 * The cost of a change is one lookup for each distinct shape of views on its resource
 * (kb_query_shape), and not one for each view: a thousand agents that follow `pods?node=…` are one
 * shape. An object that leaves a view gives it a `del` with the object's last state in it; one that
 * enters gives a `put`. */
#ifndef KUBUS_STORE_VIEW_CORE_H
#define KUBUS_STORE_VIEW_CORE_H

#include "store/query.h"

struct kb_views;

struct kb_views *kb_views_new(void);
void kb_views_destroy(struct kb_views **views_p);

/* A subscriber came to a topic (without its NUL). `rev`: the store's, which becomes `prev` of a new
 * view's first event. -KB_EINVAL: no such view (yet): it is tried again at kb_views_redeclare. */
int kb_views_add(struct kb_views *views, kb_str topic, const struct kb_indices *declared,
                 uint64_t rev, struct kb_err *err);
/* The last subscriber left. */
void kb_views_remove(struct kb_views *views, kb_str topic);
/* The indices have changed: queries are parsed again, views that become valid start at `rev`. */
void kb_views_redeclare(struct kb_views *views, const struct kb_indices *declared, uint64_t rev);
size_t kb_views_count(const struct kb_views *views);

/* What the views of a resource need to know of a change: nothing at all, or also the object before.
 */
enum kb_views_need { KB_VIEWS_NOTHING, KB_VIEWS_NEW, KB_VIEWS_OLD };
enum kb_views_need kb_views_need(const struct kb_views *views, kb_str resource);

struct kb_views_change {
    kb_str key;
    uint64_t rev;
    kb_val doc; /* KB_NONE: deleted */
    kb_val old; /* KB_NONE: there was none */
};
/* One change of the batch that is being published, in order of revision. */
void kb_views_change(struct kb_views *views, const struct kb_views_change *change);

/* After the batch's changes: the events, one for each view that has any. Borrowed until the next
 * call. */
struct kb_views_event {
    kb_str topic; /* with its NUL */
    uint64_t rev, prev;
    kb_val body; /* KB_NONE: a beat */
};
bool kb_views_next_event(struct kb_views *views, struct kb_views_event *ret_event);
/* for (size_t i = 0; kb_views_beat(views, &i, &event);) — a beat for every view. */
bool kb_views_beat(const struct kb_views *views, size_t *cursor, struct kb_views_event *ret_event);
/* A beat for one topic, when it is a view. */
bool kb_views_beat_of(const struct kb_views *views, kb_str topic, struct kb_views_event *ret_event);

/* A member with a document, or with those of its fields that the query asks for. */
void kb_query_write_doc(const struct kb_query *query, const char *key, kb_val doc, struct kb_w *w);

/* What a change means for one query: up to two changes, written as protocol maps. Returns how many.
 * For replays. */
size_t kb_query_change(const struct kb_query *query, const struct kb_views_change *change,
                       struct kb_w *w);

#endif
