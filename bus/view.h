/* Views: follow a query on the store. List, then follow: nothing is missed, nothing is reordered.
 *
 * A view is named by its query: `pods`, `pods?node=n1`, `deployments.apps?ns=shop`,
 * `pods?owner-shard=3/8` (docs/protocol.md has the grammar). The follower subscribes, lists,
 * and then applies what is published; every event says which revision of the same view came before
 * it, so that a gap is seen and replayed from the store. When the history is gone (410), or another
 * database took the store's place, it lists again and reports the difference: what vanished is a
 * DEL. */
#ifndef KUBUS_BUS_VIEW_H
#define KUBUS_BUS_VIEW_H

#include "bus/model/doc.h"

struct kb_actor;
struct kb_view;

enum kb_change_op { KB_PUT, KB_DEL };

/* One change; all borrowed until the callback returns. */
struct kb_change {
    enum kb_change_op op;
    kb_str key;  /* "pods/shop/web-0" */
    int64_t rev; /* of the change; on the first listing, of the object's last change */
    kb_val doc;  /* PUT: the object; DEL: its last state (KB_NONE after a relist found it gone) */
    kb_val old;  /* the object before this change, when asked for by with_old; else KB_NONE */
};

struct kb_view_handlers {
    /* In order of revision, except that the first listing comes in order of key. */
    void (*change)(void *user, const struct kb_change *change);
    /* All up to `rev` has been delivered. The first call says that the first listing is complete;
     * later ones come after each batch and with heartbeats, so `rev` keeps up with the store. It
     * falls only when another database took the store's place. */
    void (*synced)(void *user, int64_t rev);
};

/* What a follower holds already: one that keeps the objects by key itself spares the view a map of
 * all keys. It holds no object at a lower revision than it was delivered, and drops what a DEL
 * names unless it holds it at a higher one. `user` is that of kb_view_open. */
struct kb_view_held {
    int64_t (*rev)(void *user, kb_str key); /* 0: not there */
    /* As kb_map_next; nothing changes meanwhile. */
    bool (*next)(void *user, size_t *cursor, kb_str *ret_key);
};

struct kb_view_options {
    bool with_old; /* deliver `old` */
    int64_t since; /* > 0: no listing; changes after this revision. If they are gone: `lost` */
    /* Only with `since`: called once instead of relisting when the history is gone (410); the view
     * is then closed. May be NULL when `since` is 0. */
    void (*lost)(void *user, const struct kb_err *err);
    const struct kb_view_held *held; /* or NULL; outlives the view */
};

/* Open; `handlers` must outlive the view. A malformed query or an unknown index: `lost` if given,
 * else it is logged and retried, for the store may learn the index later. */
KB_API struct kb_view *kb_view_open(struct kb_actor *actor, const char *query,
                                    const struct kb_view_options *options,
                                    const struct kb_view_handlers *handlers, void *user);
KB_API void kb_view_close(struct kb_view **view_p); /* no callback follows */
/* Every event message of a service as it passes, for tools that show the bus: only what somebody
 * follows is published. Events may be missed. One tap an actor and service; -KB_EEXISTS. */
typedef void kb_tap_fn(void *user, kb_str topic, kb_val header, kb_val body);
KB_API int kb_actor_tap(struct kb_actor *actor, const char *service, kb_tap_fn *fn, void *user);

KB_API int64_t kb_view_rev(const struct kb_view *view); /* all up to here was delivered */
KB_API bool kb_view_synced(const struct kb_view *view); /* the first listing is complete */

#endif
