/* What the files of the core share. Private to this folder. */
#ifndef KUBUS_RUNTIME_CORE_IMPL_H
#define KUBUS_RUNTIME_CORE_IMPL_H

#include "actors/runtime/core.h"
#include "actors/runtime/events.h"
#include "actors/runtime/queue.h"
#include "bus/model/fence.h"

enum {
    CORE_RUNS_MAX = 128,    /* keys being worked on at once */
    CORE_CALLS_MAX = 256,   /* calls under way at once */
    CORE_EVENTS_MAX = 1000, /* events that wait to be written */
    RUN_NEEDS_MAX = 8,
    RUN_FAILURES_MAX = 4,
};

/* One view with the cache of what it delivers. */
struct source {
    struct kb_core_view pub; /* first */
    struct kb_link link;
    struct kb_cache cache;
    const struct kb_plugin_watch *watch; /* or NULL */
    bool primary, owned;
    bool partial; /* the view is a part of the resource */
    bool lasting; /* follows from the descriptor; else from kb_need */
    bool listed;
    bool unwanted;
    int64_t rev;
    struct kb_map askers; /* keys whose last run needed it */
    uint64_t asked_in;    /* the run that asked last */
};

struct failure {
    const char *tag;
    struct kb_err err;
};

/* What failed in the last run of a key. */
struct failures {
    size_t count;
    struct failure items[RUN_FAILURES_MAX];
};

enum wish_kind { WISH_CREATE, WISH_UPDATE, WISH_PATCH, WISH_DELETE };

struct kb_wish {
    struct kb_link link;     /* in the outbox */
    struct kb_link run_link; /* in the run; alone for events */
    struct run *run;         /* NULL: an event */
    uint64_t id;             /* 0 until sent */
    int64_t epoch;           /* that it was sent with; 0: none */
    enum wish_kind kind;
    const char *resource;
    char *ns, *name; /* name: empty on create */
    char *uid;       /* precondition, or "" */
    int64_t rev;     /* of what was read, 0 for create */
    bool if_unchanged;
    int64_t grace_s;         /* -1: not given */
    const char *propagation; /* or NULL */
    const char *subresource; /* or NULL */
    const char *tag;         /* or NULL */
    struct kb_doc *object;   /* the object or patch, or NULL */
    struct kb_doc *body;     /* of the call, once sent */
    struct kb_doc *about;    /* metadata of what its events are about */
    char about_resource[64];
    char about_rev[24];
    const char *ok_reason, *ok_format, *failed_reason, *failed_format;
};

/* A key being worked on: from reconcile until all its wishes are answered and seen. */
struct run {
    struct kb_link link;
    struct kb_link wishes;
    size_t open; /* wishes not answered */
    bool failed, conflict, uncertain;
    struct {
        const char *resource;
        int64_t rev;
    } needs[RUN_NEEDS_MAX];
    size_t nneeds;
    int64_t need_all; /* every view must reach this */
    struct failures failures;
    size_t n;
    char key[];
};

struct kb_controller {
    uint32_t magic;
#define CORE_MAGIC 0x4b1c0de5u
    struct kb_plugin plugin; /* a copy, for it may be smaller than ours */
    const struct kb_resource_info *resources;
    const char **resource_names;
    struct kb_map names; /* interned texts */
    void *user;
    struct kb_rand rand;
    kb_ms now_ms, next_resync_ms;
    int64_t wall_us;
    struct kb_arena arena;
    struct kb_queue queue;
    struct kb_events events;
    struct kb_link sources, unwanted;
    bool demanded; /* a primary object is or was there, or the plugin waits for none */
    uint64_t views_version;
    struct kb_core_view **views; /* as of views_listed */
    uint64_t views_listed;
    struct kb_link runs;
    struct run *current; /* inside reconcile */
    uint64_t run_seq;
    const struct failures *current_failures;
    struct kb_map failures; /* key → struct failures */
    struct kb_link outbox;
    struct kb_map calls; /* id → wish */
    uint64_t next_id;
    size_t event_wishes;
    struct kb_fence fence;
    int64_t past_rev; /* up to it the cache must come, to show what processes before this one did */
    bool begun;
    struct kb_map refused; /* what it wanted to write and may not: "pods/status" → its name */
    struct kb_err refusal; /* one that the shell was not told of yet; code 0: none */
    struct kb_core_stats stats;
};

/* core_wish.c */
struct kb_wish *kb__wish_new(kb_controller *c, enum wish_kind kind, const char *resource);
void kb__wish_free(struct kb_wish *wish);
void kb__wish_encode(kb_controller *c, struct kb_wish *wish);
const char *kb__wish_method(const struct kb_wish *wish);
/* Event of an object at once; `about` holds its metadata. */
void kb__event_add(kb_controller *c, kb_val about, const char *resource, const char *rev,
                   const char *type, const char *reason, const char *message);
void kb__event_write(kb_controller *c, enum wish_kind kind, kb_str ns, kb_str name,
                     const struct kb_node *node);
/* The events that a wish asked for. */
void kb__wish_tell(kb_controller *c, const struct kb_wish *wish, const struct kb_err *err,
                   kb_str name);

/* core_view.c */
int kb__sources_make(kb_controller *c, struct kb_err *err);
void kb__source_free(struct source *src);
bool kb__sources_listed(const kb_controller *c); /* the lasting ones */
/* Is it to be followed now? Not, what waits for a primary object. */
bool kb__source_wanted(const kb_controller *c, const struct source *src);
void kb__source_change(kb_controller *c, struct source *src, bool gone, kb_str key, int64_t rev,
                       kb_val doc);
/* Views that the key asked for before, but not in this run, are not wanted by it any more. */
void kb__sources_forget(kb_controller *c, kb_str key);

/* core.c */
void kb__runs_settle(kb_controller *c);
/* The same text for as long as the core lives. */
const char *kb__intern(kb_controller *c, kb_str text);
const struct kb_resource_info *kb__info(const kb_controller *c, const char *resource);

#endif
