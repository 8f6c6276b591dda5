/* The core of a controller: caches, queue, runs and wishes, without I/O and without a clock.
 *
 * A shell feeds it what the views deliver and what calls answer, asks it to run keys, takes the
 * wishes that are due to be sent, and sleeps as long as it says. The actor (host.h) does this on
 * the bus, the harness (harness.h) in virtual time: a controller cannot tell which. */
#ifndef KUBUS_RUNTIME_CORE_H
#define KUBUS_RUNTIME_CORE_H

#include "actors/runtime/cache.h"

struct kb_core_config {
    const struct kb_plugin *plugin; /* outlives the core */
    uint64_t seed;
    /* What "*" means and kinds are called: NULL-terminated by a NULL resource; outlives the core.
     */
    const struct kb_resource_info *resources;
    const char *lease; /* of this controller alone, see kb_core_ask_epoch; copied */
};

struct kb_core_stats {
    uint64_t runs, failures, wishes, conflicts;
    size_t ready, working, objects, bytes;
};

/* -KB_EINVAL: the plugin's ABI or descriptor does not fit; the plugin's own error of `start`. */
KB_API int kb_core_new(const struct kb_core_config *config, kb_controller **ret_core,
                       struct kb_err *err);
KB_API void kb_core_destroy(kb_controller **core_p);
KB_API struct kb_core_stats kb_core_stats(const kb_controller *core);

/* Time, before any of the functions below: monotonic ms, and wall clock in microseconds. */
KB_API void kb_core_time(kb_controller *core, kb_ms now_ms, int64_t wall_us);

/* ---- views ---- */

/* What the core wants followed now. A view appears and goes as runs ask for it (kb_need): compare
 * after each pass. `version` rises with every change of the set. */
struct kb_core_view {
    const char *query; /* stable text, as long as the view is wanted */
    /* Of the documents these paths alone are looked at, separated by spaces; NULL: all. As stable
     * once the view is open. It may deliver more. */
    const char *fields;
    bool open;   /* for the shell: it has been opened */
    void *shell; /* for the shell */
};
KB_API uint64_t kb_core_views_version(const kb_controller *core);
KB_API size_t kb_core_views(kb_controller *core, struct kb_core_view ***ret_views);
/* Views that are not wanted any more, and which the shell has opened: taken one by one; the shell
 * closes it and then calls kb_core_view_closed. */
KB_API struct kb_core_view *kb_core_view_unwanted(kb_controller *core);
KB_API void kb_core_view_closed(kb_controller *core, struct kb_core_view *view);

KB_API void kb_core_change(kb_controller *core, struct kb_core_view *view, bool gone, kb_str key,
                           int64_t rev, kb_val doc);
/* What the view's cache holds: the revision of a key, 0 without it; all keys, as kb_map_next. */
KB_API int64_t kb_core_view_rev(const struct kb_core_view *view, kb_str key);
KB_API bool kb_core_view_next(const struct kb_core_view *view, size_t *cursor, kb_str *ret_key);
/* All up to `rev` was delivered. The first time: the first listing is complete. */
KB_API void kb_core_synced(kb_controller *core, struct kb_core_view *view, int64_t rev);
KB_API bool kb_core_ready(const kb_controller *core); /* all lasting views of now are listed */

/* ---- running ---- */

/* Reconcile one key, if one is due and not too much is under way. False: nothing to do now. */
KB_API bool kb_core_run(kb_controller *core);
/* Until when to sleep: 0 when kb_core_run would run, -1 for ever. */
KB_API kb_ms kb_core_wait_ms(const kb_controller *core);

/* ---- wishes ---- */

/* A call to be sent to `api`. */
struct kb_core_call {
    uint64_t id;
    const char *method; /* "object.create", … */
    kb_val body;        /* valid until the answer */
};
KB_API bool kb_core_next_call(kb_controller *core, struct kb_core_call *ret_call);
/* A wish to write what the plugin's descriptor does not name is not sent: it fails with
 * -KB_EFORBIDDEN, and its key is tried again after the back-off. True: one was refused, the first
 * for its resource, and nobody has been told. To ask after kb_core_next_call; the shell logs it. */
KB_API bool kb_core_refusal(kb_controller *core, struct kb_err *ret_err);
/* Its end: err NULL with the result's body, or err. */
KB_API void kb_core_answer(kb_controller *core, uint64_t id, const struct kb_err *err, kb_val body);
/* Every write carries a lease and its epoch (bus/model/fence.h). True: call "lease.acquire" with
 * `body` and tell the answer; until one is granted nothing is sent. To ask after all that may want
 * one. */
KB_API bool kb_core_ask_epoch(kb_controller *core, const char *holder, struct kb_w *body);
/* True: it is granted. What is uncertain is settled when the views have come to its revision. */
KB_API bool kb_core_epoch(kb_controller *core, const struct kb_err *err, kb_val body);

#endif
