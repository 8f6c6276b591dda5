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
    return kb_rest_new(session->data, &session->rest, err);
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

int kb_session_operands(struct kb_session *session, const struct kb_operands *operands,
                        struct kb_rest_resource *ret_resource, const char **names, size_t cap,
                        size_t *ret_count, struct kb_err *err)
{
    size_t count = 0;
    if (operands->count == 0)
        return kb_err_set(err, KB_EINVAL, "name a resource, as in `pods` or `pod/web-0`");
    kb_str name = kb_str_of(operands->items[0]), resource = kb_str_cut(&name, '/');
    if (name.p)
        names[count++] = name.p;
    for (size_t i = 1; i < operands->count && count < cap; i++) {
        const char *slash = strchr(operands->items[i], '/');
        names[count++] = slash ? slash + 1 : operands->items[i];
    }
    *ret_count = count;
    return kb_rest_find(session->rest, &session->arena, resource, ret_resource, err);
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
