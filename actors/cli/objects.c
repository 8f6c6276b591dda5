#include "actors/cli/objects.h"

#include "bus/base/file.h"
#include "bus/base/limits.h"
#include "bus/model/yaml.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int kb_session_open(struct kb_session *session, struct kb_err *err)
{
    session->data = kb_data_dir(session->data_option);
    /* Who says --data means that cluster, whatever the environment says of another one. */
    return kb_rest_new(session->data, session->data_option != NULL, &session->rest, err);
}

void kb_session_finish(struct kb_session *session)
{
    kb_rest_destroy(&session->rest);
    kb_arena_finish(&session->arena);
    free(session->data);
    session->data = NULL;
}

const char *kb_session_ns(const struct kb_session *session)
{
    return session->ns_option ? session->ns_option : kb_rest_namespace(session->rest);
}

const char *kb_session_title(struct kb_session *session, const struct kb_rest_resource *r,
                             kb_str name)
{
    return kb_arena_printf(&session->arena, KB_STR_FMT "%s" KB_STR_FMT "/" KB_STR_FMT,
                           KB_STR_ARG(r->singular), r->group.n ? "." : "", KB_STR_ARG(r->group),
                           KB_STR_ARG(name))
        .p;
}

void kb_query_add(struct kb_buf *path, const char *key, kb_str value)
{
    kb_buf_printf(path, "%c%s=", path->p && strchr(path->p, '?') ? '&' : '?', key);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (isalnum(c) || strchr("-._~", c))
            kb_buf_putc(path, (char)c);
        else
            kb_buf_printf(path, "%%%02X", c);
    }
}

/* ---- operands ---- */

enum { RESOURCES_MAX = 64 };

/* "pods,deployments" or "all". Returns their number. */
static int find_resources(struct kb_session *session, kb_str list, struct kb_rest_resource *ret,
                          struct kb_err *err)
{
    size_t n = 0;
    while (list.p != NULL && n < RESOURCES_MAX) {
        kb_str word = kb_str_cut(&list, ',');
        struct kb_err ignored = {0};
        int rc = kb_rest_category(session->rest, &session->arena, word, ret + n, RESOURCES_MAX - n,
                                  &ignored);
        if (rc <= 0)
            rc = kb_rest_find(session->rest, &session->arena, word, ret + n, err) < 0 ? -err->code
                                                                                      : 1;
        if (rc < 0)
            return rc;
        n += (size_t)rc;
    }
    return (int)n;
}

static int slashed_targets(struct kb_session *session, const struct kb_operands *operands,
                           struct kb_target *targets, struct kb_err *err)
{
    for (size_t i = 0; i < operands->count; i++) {
        kb_str name = kb_str_of(operands->items[i]), resource = kb_str_cut(&name, '/');
        if (name.p == NULL || name.n == 0)
            return kb_err_set(err, KB_EINVAL,
                              "there is no need to specify a resource type as a separate argument "
                              "when passing arguments in resource/name form");
        targets[i].name = name.p;
        if (kb_rest_find(session->rest, &session->arena, resource, &targets[i].resource, err) < 0)
            return -err->code;
    }
    return 0;
}

int kb_session_targets(struct kb_session *session, const struct kb_operands *operands,
                       struct kb_target **ret_targets, size_t *ret_count, struct kb_err *err)
{
    struct kb_rest_resource resources[RESOURCES_MAX];
    size_t names = operands->count > 1 ? operands->count - 1 : 1, n = 0;
    if (operands->count == 0)
        return kb_err_set(err, KB_EINVAL, "name a resource, as in `pods` or `pod/web-0`");
    struct kb_target *targets =
        kb_arena_alloc(&session->arena, (names + 1) * RESOURCES_MAX * sizeof *targets);
    *ret_targets = targets;
    *ret_count = operands->count;
    if (strchr(operands->items[0], '/') != NULL)
        return slashed_targets(session, operands, targets, err);
    int found = find_resources(session, kb_str_of(operands->items[0]), resources, err);
    if (found < 0)
        return found;
    for (int r = 0; r < found; r++)
        for (size_t i = 0; i < names; i++)
            targets[n++] = (struct kb_target){resources[r],
                                              operands->count > 1 ? operands->items[i + 1] : NULL};
    *ret_count = n;
    return 0;
}

/* ---- pods behind a workload ---- */

static void add_requirement(struct kb_buf *out, const struct kb_node *expression)
{
    const struct kb_node *values = kb_node_get(expression, "values");
    kb_str key = kb_node_text_at(expression, "key"), op = kb_node_text_at(expression, "operator");
    kb_buf_puts(out, out->n ? "," : "");
    if (kb_str_is(op, "DoesNotExist"))
        kb_buf_putc(out, '!');
    kb_buf_add_str(out, key);
    if (values == NULL || values->count == 0)
        return;
    kb_buf_puts(out, kb_str_is(op, "NotIn") ? " notin (" : " in (");
    for (uint32_t i = 0; i < values->count; i++)
        kb_buf_printf(out, "%s" KB_STR_FMT, i ? "," : "",
                      KB_STR_ARG(kb_node_text(values->items[i].val)));
    kb_buf_putc(out, ')');
}

/* The text of spec.selector: a LabelSelector, or a map as Services have it. */
static void selector_text(const struct kb_node *selector, struct kb_buf *out)
{
    const struct kb_node *expressions = kb_node_get(selector, "matchExpressions");
    const struct kb_node *labels = kb_node_get(selector, "matchLabels");
    if (labels == NULL && expressions == NULL)
        labels = selector;
    for (uint32_t i = 0; labels && labels->type == KB_MAP && i < labels->count; i++)
        kb_buf_printf(out, "%s" KB_STR_FMT "=" KB_STR_FMT, out->n ? "," : "",
                      KB_STR_ARG(labels->items[i].key),
                      KB_STR_ARG(kb_node_text(labels->items[i].val)));
    for (uint32_t i = 0; expressions && i < expressions->count; i++)
        add_requirement(out, expressions->items[i].val);
}

static kb_str best_pod(const struct kb_node *pods)
{
    for (uint32_t i = 0; i < pods->count; i++)
        if (kb_str_is(kb_node_text_at(pods->items[i].val, "status.phase"), "Running") &&
            kb_node_at(pods->items[i].val, "metadata.deletionTimestamp") == NULL)
            return kb_node_text_at(pods->items[i].val, "metadata.name");
    return kb_node_text_at(pods->items[0].val, "metadata.name");
}

static int pod_behind(struct kb_session *session, const struct kb_rest_resource *resource,
                      const char *name, const char **ret_pod, struct kb_err *err)
{
    static const struct kb_rest_resource pods = {
        .version = {"v1", 2}, .plural = {"pods", 4}, .namespaced = true};
    KB_AUTO(kb_buf_finish) struct kb_buf selector = {0}, path = {0};
    struct kb_node *object = NULL, *list = NULL;
    const char *ns = kb_session_ns(session);
    struct kb_rest_request get = {.method = "GET",
                                  .path = kb_rest_path(&session->arena, resource, ns, name)};
    if (kb_rest_json(session->rest, &get, &session->arena, &object, err) < 0)
        return -err->code;
    selector_text(kb_node_at(object, "spec.selector"), &selector);
    if (selector.n == 0)
        return kb_err_set(err, KB_EINVAL, "%s has no selector that would lead to its pods", name);
    kb_buf_puts(&path, kb_rest_path(&session->arena, &pods, ns, NULL));
    kb_query_add(&path, "labelSelector", kb_buf_str(&selector));
    get.path = path.p;
    if (kb_rest_json(session->rest, &get, &session->arena, &list, err) < 0)
        return -err->code;
    const struct kb_node *items = kb_node_get(list, "items");
    if (items == NULL || items->count == 0)
        return kb_err_set(err, KB_ENOTFOUND, "no pods found for %s",
                          kb_session_title(session, resource, kb_str_of(name)));
    *ret_pod = kb_arena_str(&session->arena, best_pod(items)).p;
    if (items->count > 1)
        fprintf(stderr, "Found %u pods, using pod/%s\n", items->count, *ret_pod);
    return 0;
}

int kb_session_pod(struct kb_session *session, const char *operand, const char **ret_pod,
                   struct kb_err *err)
{
    struct kb_rest_resource resource;
    kb_str name = kb_str_of(operand), word = kb_str_cut(&name, '/');
    *ret_pod = name.p ? name.p : operand;
    if (name.p == NULL)
        return 0;
    if (kb_rest_find(session->rest, &session->arena, word, &resource, err) < 0)
        return -err->code;
    bool is_pod = resource.group.n == 0 && kb_str_is(resource.plural, "pods");
    return is_pod ? 0 : pod_behind(session, &resource, name.p, ret_pod, err);
}

/* ---- manifests ---- */

static int read_stdin(struct kb_buf *text, struct kb_err *err)
{
    for (;;) {
        char *at = kb_buf_reserve(text, 16384);
        ssize_t n = read(STDIN_FILENO, at, 16384);
        if (n < 0 && errno != EINTR)
            return kb_err_sys(err, errno, "read standard input");
        if (n == 0)
            return 0;
        text->n += n > 0 ? (size_t)n : 0;
        if (text->n > KB_FILE_MAX_BYTES)
            return kb_err_set(err, KB_E2BIG, "standard input is too large");
    }
}

static void add_objects(struct kb_arena *a, struct kb_node *objects, struct kb_node *object)
{
    struct kb_node *items = kb_node_get(object, "items");
    bool list = kb_str_ends(kb_node_text_at(object, "kind"), "List") && items;
    for (uint32_t i = 0; list && i < items->count; i++)
        kb_node_append(a, objects, items->items[i].val);
    if (!list && object->type != KB_NIL)
        kb_node_append(a, objects, object);
}

static int read_manifest(struct kb_session *session, const char *path, struct kb_node *objects,
                         struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    struct kb_node *docs = NULL;
    int rc = strcmp(path, "-") == 0 ? read_stdin(&text, err)
                                    : kb_file_read(path, KB_FILE_MAX_BYTES, &text, err);
    if (rc < 0)
        return rc;
    if (kb_yaml_parse(&session->arena, kb_buf_str(&text), NULL, &docs, err) < 0)
        return kb_err_wrap(err, "'%s'", path);
    for (uint32_t i = 0; i < docs->count; i++)
        add_objects(&session->arena, objects, docs->items[i].val);
    return 0;
}

static int is_manifest(const struct dirent *entry)
{
    kb_str name = kb_str_of(entry->d_name);
    return kb_str_ends(name, ".yaml") || kb_str_ends(name, ".yml") || kb_str_ends(name, ".json");
}

static int read_folder(struct kb_session *session, const char *path, struct kb_node *objects,
                       struct kb_err *err)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_manifest, alphasort), rc = 0;
    if (n < 0)
        return kb_err_sys(err, errno, "read folder '%s'", path);
    for (int i = 0; i < n; i++) {
        kb_str file = kb_arena_printf(&session->arena, "%s/%s", path, entries[i]->d_name);
        if (rc == 0)
            rc = read_manifest(session, file.p, objects, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int kb_session_manifests(struct kb_session *session, const struct kb_opt_list *files,
                         struct kb_node **ret_objects, struct kb_err *err)
{
    struct kb_node *objects = kb_node_array(&session->arena);
    for (size_t i = 0; i < files->count; i++) {
        struct stat st;
        bool folder = stat(files->items[i], &st) == 0 && S_ISDIR(st.st_mode);
        int rc = folder ? read_folder(session, files->items[i], objects, err)
                        : read_manifest(session, files->items[i], objects, err);
        if (rc < 0)
            return rc;
    }
    if (objects->count == 0)
        return kb_err_set(err, KB_EINVAL, "no objects passed");
    *ret_objects = objects;
    return 0;
}

int kb_session_object_path(struct kb_session *session, const struct kb_node *object, bool with_name,
                           struct kb_rest_resource *ret_resource, const char **ret_path,
                           struct kb_err *err)
{
    char name[KB_NAME_MAX_BYTES + 1], ns[KB_NAME_MAX_BYTES + 1];
    kb_str kind = kb_node_text_at(object, "kind");
    kb_str version = kb_node_text_at(object, "apiVersion");
    if (kind.n == 0 || version.n == 0)
        return kb_err_set(err, KB_EINVAL, "an object lacks kind or apiVersion");
    if (!kb_str_copy(kb_node_text_at(object, "metadata.name"), name, sizeof(name)) ||
        (with_name && name[0] == '\0'))
        return kb_err_set(err, KB_EINVAL, "an object of kind " KB_STR_FMT " lacks metadata.name",
                          KB_STR_ARG(kind));
    if (!kb_str_copy(kb_node_text_at(object, "metadata.namespace"), ns, sizeof(ns)))
        return kb_err_set(err, KB_EINVAL, "metadata.namespace is too long");
    int rc = kb_rest_find_kind(session->rest, &session->arena, version, kind, ret_resource, err);
    if (rc < 0)
        return rc;
    *ret_path = kb_rest_path(&session->arena, ret_resource, ns[0] ? ns : kb_session_ns(session),
                             with_name ? name : NULL);
    return 0;
}
