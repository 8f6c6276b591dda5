/* cmd_apply.c - `kubus apply` and `kubus delete`.
 *
 * Apply keeps what was applied last in the annotation that kubectl uses, so that both tools can
 * change the same object: a field that stood there and stands in the manifest no more is removed.
 */
#include "actors/cli/objects.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

/* A copy of the manifest that carries itself, as JSON, in the annotation. */
static struct kb_node *with_annotation(struct kb_arena *a, const struct kb_node *object)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    struct kb_node *copy = kb_node_copy(a, object);
    struct kb_node *annotations = kb_node_ensure(a, copy, "metadata.annotations");
    kb_node_del(annotations, LAST_APPLIED);
    kb_json_write_node(&text, copy, KB_JSON_SORTED);
    kb_buf_putc(&text, '\n');
    kb_node_put(a, annotations, LAST_APPLIED, kb_node_str(a, kb_buf_str(&text)));
    return copy;
}

/* Put a null into `patch` for each member of `last` that `now` lacks: a deletion. Lists are
 * replaced whole, but for those that the server merges by key. */
static void mark_removed(struct kb_arena *a, const struct kb_node *last, const struct kb_node *now,
                         struct kb_node *patch)
{
    if (last == NULL || last->type != KB_MAP || now == NULL || now->type != KB_MAP)
        return;
    for (uint32_t i = 0; i < last->count; i++) {
        kb_str key = last->items[i].key;
        const struct kb_node *kept = kb_node_getn(now, key);
        if (kept == NULL)
            kb_node_putn(a, patch, key, kb_node_nil(a));
        else
            mark_removed(a, last->items[i].val, kept, kb_node_getn(patch, key));
    }
}

static int send(struct kb_session *session, const char *method, const char *path, const char *type,
                const struct kb_node *body, struct kb_node **ret, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_json_write_node(&text, body, 0);
    struct kb_rest_request request = {
        .method = method, .path = path, .content_type = type, .body = kb_buf_str(&text)};
    return kb_rest_json(session->rest, &request, &session->arena, ret, err);
}

static int apply_change(struct kb_session *session, const char *path, const struct kb_node *current,
                        const struct kb_node *object, const char **ret_word, struct kb_err *err)
{
    struct kb_node *last = NULL, *answer = NULL;
    struct kb_node *patch = with_annotation(&session->arena, object);
    kb_str text = kb_node_text(
        kb_node_getn(kb_node_at(current, "metadata.annotations"), kb_str_of(LAST_APPLIED)));
    if (text.n && kb_json_parse(&session->arena, text, NULL, &last, NULL) == 0)
        mark_removed(&session->arena, last, object, patch);
    int rc =
        send(session, "PATCH", path, "application/strategic-merge-patch+json", patch, &answer, err);
    if (rc < 0)
        return rc;
    bool same = kb_str_eq(kb_node_text_at(current, "metadata.resourceVersion"),
                          kb_node_text_at(answer, "metadata.resourceVersion"));
    *ret_word = same ? "unchanged" : "configured";
    return 0;
}

static int apply_one(struct kb_session *session, const struct kb_node *object, struct kb_err *err)
{
    struct kb_rest_resource resource;
    struct kb_node *current = NULL;
    const char *path, *collection, *word = "created";
    if (kb_session_object_path(session, object, true, &resource, &path, err) < 0 ||
        kb_session_object_path(session, object, false, &resource, &collection, err) < 0)
        return -err->code;
    struct kb_rest_request get = {.method = "GET", .path = path};
    int rc = kb_rest_json(session->rest, &get, &session->arena, &current, err);
    if (rc == -KB_ENOTFOUND)
        rc = send(session, "POST", collection, "application/json",
                  with_annotation(&session->arena, object), &current, err);
    else if (rc == 0)
        rc = apply_change(session, path, current, object, &word, err);
    if (rc < 0)
        return rc;
    printf("%s %s\n",
           kb_session_title(session, &resource, kb_node_text_at(object, "metadata.name")), word);
    return 0;
}

int kb_cmd_apply(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(kb_session_finish) struct kb_session session = {0};
    struct kb_opt_list files = {0};
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&session),
        {"filename", 'f', KB_OPT_LIST, &files, "FILE",
         "a manifest, a folder, or - for standard input", 0, 0},
    };
    struct kb_operands operands;
    struct kb_node *objects = NULL;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (files.count == 0)
        return kb_command_misuse(command, "must specify -f");
    if (kb_session_open(&session, &err) < 0 ||
        kb_session_manifests(&session, &files, &objects, &err) < 0)
        return kb_command_fail(command, &err);
    for (uint32_t i = 0; i < objects->count; i++)
        if (apply_one(&session, objects->items[i].val, &err) < 0)
            rc = kb_command_fail(command, &err);
    return rc;
}

/* ---- delete ---- */

static int delete_path(struct kb_session *session, const char *path, const char *title,
                       int64_t grace_s, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf full = {0}, answer = {0};
    kb_buf_puts(&full, path);
    if (grace_s >= 0) {
        KB_AUTO(kb_auto_free) char *grace = kb_strf("%lld", (long long)grace_s);
        kb_query_add(&full, "gracePeriodSeconds", kb_str_of(grace));
    }
    struct kb_rest_request request = {.method = "DELETE", .path = full.p};
    int rc = kb_rest_do(session->rest, &request, &answer, err);
    if (rc == 0)
        printf("%s deleted\n", title);
    return rc;
}

static int delete_files(struct kb_session *session, const struct kb_opt_list *files,
                        int64_t grace_s, struct kb_err *err)
{
    struct kb_node *objects = NULL;
    struct kb_rest_resource resource;
    const char *path;
    if (kb_session_manifests(session, files, &objects, err) < 0)
        return -err->code;
    for (uint32_t i = 0; i < objects->count; i++) {
        const struct kb_node *object = objects->items[i].val;
        if (kb_session_object_path(session, object, true, &resource, &path, err) < 0)
            return -err->code;
        const char *title =
            kb_session_title(session, &resource, kb_node_text_at(object, "metadata.name"));
        if (delete_path(session, path, title, grace_s, err) < 0)
            return -err->code;
    }
    return 0;
}

static int delete_named(struct kb_session *session, const struct kb_operands *operands,
                        int64_t grace_s, struct kb_err *err)
{
    struct kb_target *targets;
    size_t count;
    if (kb_session_targets(session, operands, &targets, &count, err) < 0)
        return -err->code;
    for (size_t i = 0; i < count; i++) {
        const struct kb_target *t = &targets[i];
        if (t->name == NULL)
            return kb_err_set(err, KB_EINVAL,
                              "resource(s) were provided, but no name was specified");
        const char *path =
            kb_rest_path(&session->arena, &t->resource, kb_session_ns(session), t->name);
        const char *title = kb_session_title(session, &t->resource, kb_str_of(t->name));
        if (delete_path(session, path, title, grace_s, err) < 0)
            return -err->code;
    }
    return 0;
}

int kb_cmd_delete(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(kb_session_finish) struct kb_session session = {0};
    struct kb_opt_list files = {0};
    int64_t grace_s = -1;
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&session),
        {"filename", 'f', KB_OPT_LIST, &files, "FILE", "delete what this manifest names", 0, 0},
        {"grace-period", 0, KB_OPT_INT, &grace_s, "SECONDS",
         "time to end in order [the object's own]", 0, 86400},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (kb_session_open(&session, &err) < 0)
        return kb_command_fail(command, &err);
    rc = files.count ? delete_files(&session, &files, grace_s, &err)
                     : delete_named(&session, &operands, grace_s, &err);
    return rc < 0 ? kb_command_fail(command, &err) : 0;
}
