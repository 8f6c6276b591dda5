/* The Status object: what the API answers when there is no object to answer with.
 *
 * Reasons, messages and details are those of Kubernetes, for clients decide by them. A failure is a
 * struct kb_status filled by one of the makers below; its texts live in the arena that is given. */
#ifndef KUBUS_API_STATUS_H
#define KUBUS_API_STATUS_H

#include "bus/model/kind.h"

/* Zero-initialized is success. */
struct kb_status {
    int code; /* HTTP; 0: no failure */
    kb_str reason, message;
    /* details; `kind` is the resource's plural, or the kind where Kubernetes has it so */
    kb_str group, kind, name, uid;
    const struct kb_cause *causes;
    size_t ncauses;
    int64_t retry_after_s;
};

/* "pods" or "deployments.apps", as it stands in messages. */
kb_str kb_status_resource(const struct kb_kind *kind);

/* `pods "x" not found` */
void kb_status_not_found(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                         kb_str name);
/* `deployments.apps "x" already exists` */
void kb_status_exists(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                      kb_str name);
/* `Operation cannot be fulfilled on pods "x": WHY` */
void kb_status_conflict(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                        kb_str name, const char *why, ...) KB_PRINTF(5, 6);
/* The same for a stale resourceVersion: "the object has been modified; please apply …" */
void kb_status_modified(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                        kb_str name);
/* `Pod "x" is invalid: spec.a: Required value`; borrows the causes. */
void kb_status_invalid(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                       kb_str name, const struct kb_causes *causes);
/* `pods "x" is forbidden: WHY` */
void kb_status_forbidden(struct kb_status *s, struct kb_arena *a, const struct kb_kind *kind,
                         kb_str name, const char *why, ...) KB_PRINTF(5, 6);
void kb_status_bad_request(struct kb_status *s, struct kb_arena *a, const char *why, ...)
    KB_PRINTF(3, 4);
/* From an error value: its code's HTTP status and reason, its text as the message. */
void kb_status_of_err(struct kb_status *s, struct kb_arena *a, const struct kb_err *err);
/* Any other: `code` with `reason`. */
void kb_status_set(struct kb_status *s, struct kb_arena *a, int code, const char *reason,
                   const char *message, ...) KB_PRINTF(5, 6);

/* Write the object {kind: Status, apiVersion: v1, …}; a success has status "Success". */
void kb_status_write(const struct kb_status *s, struct kb_w *w);

#endif
