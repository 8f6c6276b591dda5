/* What the commands on objects share: namespace options, resource operands, manifests. */
#ifndef KUBUS_CLI_OBJECTS_H
#define KUBUS_CLI_OBJECTS_H

#include "actors/cli/command.h"
#include "actors/cli/rest.h"

/* Options that every command on objects has, and the state of one run. */
struct kb_session {
    const char *data_option, *ns_option;
    char *data;
    struct kb_rest *rest;
    struct kb_arena arena;
};
#define KB_SESSION_OPTS(session)                                                                   \
    {"namespace", 'n', KB_OPT_TEXT, &(session)->ns_option, "NS", "the namespace [default]", 0, 0}, \
    {                                                                                              \
        "data", 0, KB_OPT_TEXT, &(session)->data_option, "DIR",                                    \
            "the cluster's data folder, for its kubeconfig", 0, 0                                  \
    }

int kb_session_open(struct kb_session *session, struct kb_err *err); /* after parsing */
void kb_session_finish(struct kb_session *session);
const char *kb_session_ns(const struct kb_session *session);

/* What the operands name. */
struct kb_target {
    struct kb_rest_resource resource;
    const char *name; /* NULL: all of the resource */
};
/* "RESOURCE[,RESOURCE…] [NAME…]" or "RESOURCE/NAME…" as operands; a category ("all") stands for its
 * resources. *ret_targets lives in the session's arena, and is never empty. */
int kb_session_targets(struct kb_session *session, const struct kb_operands *operands,
                       struct kb_target **ret_targets, size_t *ret_count, struct kb_err *err);
/* The pod that "POD", "pod/POD" or "deployment/NAME" (anything with a selector) means: of several
 * one that runs, which is then said on standard error. Lives in the session's arena. */
int kb_session_pod(struct kb_session *session, const char *operand, const char **ret_pod,
                   struct kb_err *err);
/* The objects of the files ("-": standard input; a folder: its .yaml, .yml and .json), as an array.
 */
int kb_session_manifests(struct kb_session *session, const struct kb_opt_list *files,
                         struct kb_node **ret_objects, struct kb_err *err);
/* The path of an object of a manifest; `with_name` false: of its collection. */
int kb_session_object_path(struct kb_session *session, const struct kb_node *object, bool with_name,
                           struct kb_rest_resource *ret_resource, const char **ret_path,
                           struct kb_err *err);
/* "deployment.apps/web". Lives in the session's arena. */
const char *kb_session_title(struct kb_session *session, const struct kb_rest_resource *resource,
                             kb_str name);
/* "?KEY=VALUE" or "&KEY=VALUE" onto a path, percent-encoded. */
void kb_query_add(struct kb_buf *path, const char *key, kb_str value);

#endif
