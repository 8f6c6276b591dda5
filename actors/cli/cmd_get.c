/* cmd_get.c - `kubus get`: tables as the server makes them, or the objects themselves. */
#include "actors/cli/objects.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCEPT_TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
enum { COLUMNS_MAX = 64 };

struct get {
    const struct kb_command *command;
    struct kb_session session;
    struct kb_rest_resource resource;
    const char *output, *labels, *fields;
    bool all, watch, no_headers, show_labels;
    bool several;          /* resources: rows are named "pod/web-0" */
    struct kb_node *table; /* rows of one resource, not printed yet */
    struct kb_node *items; /* of YAML and JSON, from several answers */
    size_t tables, printed;
    struct kb_buf line; /* of a watch: what has come of the next event */
    bool headed;        /* of a watch: the header was printed */
    size_t width[COLUMNS_MAX];
};

static void get_finish(struct get *get)
{
    kb_session_finish(&get->session);
    kb_buf_finish(&get->line);
}

static void path_of(struct get *get, const struct kb_rest_resource *resource, const char *name,
                    bool watch, struct kb_buf *out)
{
    const char *ns = get->all ? "" : kb_session_ns(&get->session);
    kb_buf_puts(out, kb_rest_path(&get->session.arena, resource, ns, watch ? NULL : name));
    if (get->labels)
        kb_query_add(out, "labelSelector", kb_str_of(get->labels));
    if (get->fields)
        kb_query_add(out, "fieldSelector", kb_str_of(get->fields));
    if (watch && name) {
        KB_AUTO(kb_auto_free) char *field = kb_strf("metadata.name=%s", name);
        kb_query_add(out, "fieldSelector", kb_str_of(field));
    }
    if (watch)
        kb_query_add(out, "watch", kb_str_of("true"));
}

/* ---- tables ---- */

static bool column_shown(const struct get *get, const struct kb_node *column)
{
    return strcmp(get->output, "wide") == 0 || kb_node_num(kb_node_get(column, "priority"), 0) == 0;
}

static kb_str cell_text(struct kb_arena *a, const struct kb_node *cell)
{
    if (cell == NULL || cell->type == KB_NIL)
        return kb_str_of("<none>");
    if (cell->type == KB_STR)
        return cell->s;
    struct kb_buf text = {0};
    kb_json_write_node(&text, cell, 0);
    kb_str copy = kb_arena_str(a, kb_buf_str(&text));
    kb_buf_finish(&text);
    return copy;
}

static void widen(struct get *get, size_t column, size_t n)
{
    if (column < COLUMNS_MAX && get->width[column] < n)
        get->width[column] = n;
}

static void print_cell(const struct get *get, size_t column, kb_str text, bool last)
{
    int pad = last ? 0 : (int)(get->width[column] - text.n + 3);
    printf(KB_STR_FMT "%*s", KB_STR_ARG(text), pad, "");
}

static kb_str upper(struct kb_arena *a, kb_str text)
{
    kb_str copy = kb_arena_str(a, text);
    for (size_t i = 0; i < copy.n; i++)
        if (copy.p[i] >= 'a' && copy.p[i] <= 'z')
            ((char *)copy.p)[i] -= 'a' - 'A';
    return copy;
}

static kb_str labels_text(struct kb_arena *a, const struct kb_node *row)
{
    struct kb_buf text = {0};
    const struct kb_node *labels = kb_node_at(row, "object.metadata.labels");
    for (uint32_t i = 0; labels && i < labels->count; i++)
        kb_buf_printf(&text, "%s" KB_STR_FMT "=" KB_STR_FMT, i ? "," : "",
                      KB_STR_ARG(labels->items[i].key),
                      KB_STR_ARG(kb_node_text(labels->items[i].val)));
    kb_str copy = text.n ? kb_arena_str(a, kb_buf_str(&text)) : kb_str_of("<none>");
    kb_buf_finish(&text);
    return copy;
}

/* The texts of a row: with -A the namespace first. `row` NULL: the header. Returns their count. */
static size_t row_texts(struct get *get, struct kb_arena *a, const struct kb_node *columns,
                        const struct kb_node *row, kb_str out[COLUMNS_MAX])
{
    const struct kb_node *cells = kb_node_get(row, "cells");
    size_t n = 0;
    if (get->all && get->resource.namespaced)
        out[n++] = row ? kb_node_text_at(row, "object.metadata.namespace") : kb_str_of("NAMESPACE");
    for (uint32_t i = 0; i < columns->count && n < COLUMNS_MAX; i++) {
        const struct kb_node *column = columns->items[i].val;
        if (!column_shown(get, column))
            continue;
        const struct kb_node *cell = cells && i < cells->count ? cells->items[i].val : NULL;
        out[n++] = row ? cell_text(a, cell) : upper(a, kb_node_text_at(column, "name"));
        if (row && i == 0 && get->several)
            out[n - 1] = kb_str_of(kb_session_title(&get->session, &get->resource, out[n - 1]));
    }
    if (get->show_labels && n < COLUMNS_MAX)
        out[n++] = row ? labels_text(a, row) : kb_str_of("LABELS");
    return n;
}

static void print_row(const struct get *get, const kb_str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        print_cell(get, i, texts[i], i + 1 == n);
    printf("\n");
}

static void print_table(struct get *get, struct kb_arena *a, const struct kb_node *table)
{
    const struct kb_node *columns = kb_node_get(table, "columnDefinitions");
    const struct kb_node *rows = kb_node_get(table, "rows");
    kb_str texts[COLUMNS_MAX];
    size_t n;
    if (columns == NULL || rows == NULL)
        return;
    for (uint32_t i = 0; i <= rows->count; i++) {
        n = row_texts(get, a, columns, i ? rows->items[i - 1].val : NULL, texts);
        for (size_t k = 0; k < n; k++)
            widen(get, k, texts[k].n);
    }
    for (uint32_t i = get->headed || get->no_headers ? 1 : 0; i <= rows->count; i++) {
        n = row_texts(get, a, columns, i ? rows->items[i - 1].val : NULL, texts);
        print_row(get, texts, n);
    }
    get->headed = true;
}

/* ---- objects ---- */

static void print_object(const struct get *get, const struct kb_node *object)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    if (strcmp(get->output, "yaml") == 0)
        kb_yaml_write_node(&text, object);
    else
        kb_json_write_node(&text, object, KB_JSON_PRETTY | KB_JSON_SORTED);
    if (text.n && text.p[text.n - 1] != '\n')
        kb_buf_putc(&text, '\n');
    fwrite(text.p, 1, text.n, stdout);
}

static void print_names(struct get *get, const struct kb_node *object)
{
    const struct kb_node *items = kb_node_get(object, "items");
    for (uint32_t i = 0; items && i < items->count; i++)
        printf("%s\n", kb_session_title(&get->session, &get->resource,
                                        kb_node_text_at(items->items[i].val, "metadata.name")));
    if (items == NULL)
        printf("%s\n", kb_session_title(&get->session, &get->resource,
                                        kb_node_text_at(object, "metadata.name")));
}

static bool as_table(const struct get *get)
{
    return get->output[0] == '\0' || strcmp(get->output, "wide") == 0;
}

/* Print the rows that have been gathered of one resource. */
static void flush_table(struct get *get)
{
    struct kb_node *table = KB_STEAL(get->table);
    if (table == NULL)
        return;
    if (get->tables++ > 0)
        printf("\n");
    get->headed = false;
    memset(get->width, 0, sizeof get->width);
    print_table(get, &get->session.arena, table);
}

static void add_rows(struct get *get, const struct kb_rest_resource *resource,
                     struct kb_node *answer)
{
    struct kb_node *rows = kb_node_get(answer, "rows");
    if (rows == NULL || rows->count == 0)
        return;
    get->printed += rows->count;
    if (get->table != NULL && kb_str_eq(resource->plural, get->resource.plural) &&
        kb_str_eq(resource->group, get->resource.group)) {
        for (uint32_t i = 0; i < rows->count; i++)
            kb_node_append(&get->session.arena, kb_node_get(get->table, "rows"),
                           rows->items[i].val);
        return;
    }
    flush_table(get);
    get->resource = *resource;
    get->table = answer;
}

/* YAML or JSON of several answers is one list. */
static void add_items(struct get *get, struct kb_node *answer)
{
    const struct kb_node *items = kb_node_get(answer, "items");
    struct kb_arena *a = &get->session.arena;
    if (get->items == NULL)
        get->items = kb_node_array(a);
    for (uint32_t i = 0; items && i < items->count; i++)
        kb_node_append(a, get->items, items->items[i].val);
    if (items == NULL)
        kb_node_append(a, get->items, answer);
}

static void print_items(struct get *get)
{
    struct kb_arena *a = &get->session.arena;
    struct kb_node *list = kb_node_map(a);
    kb_node_set_cstr(a, list, "apiVersion", "v1");
    kb_node_put(a, list, "items", get->items);
    kb_node_set_cstr(a, list, "kind", "List");
    print_object(get, list);
}

static int get_target(struct get *get, const struct kb_target *target, bool alone,
                      struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    struct kb_node *answer = NULL;
    path_of(get, &target->resource, target->name, false, &path);
    struct kb_rest_request request = {
        .method = "GET", .path = path.p, .accept = as_table(get) ? ACCEPT_TABLE : NULL};
    int rc = kb_rest_json(get->session.rest, &request, &get->session.arena, &answer, err);
    if (rc < 0)
        return rc;
    if (as_table(get)) {
        add_rows(get, &target->resource, answer);
        return 0;
    }
    get->resource = target->resource;
    get->printed++;
    if (strcmp(get->output, "name") == 0)
        print_names(get, answer);
    else if (alone)
        print_object(get, answer);
    else
        add_items(get, answer);
    return 0;
}

/* ---- watching ---- */

static void print_event(struct get *get, kb_str line)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *event = NULL;
    if (kb_json_parse(&a, line, NULL, &event, NULL) < 0)
        return;
    struct kb_node *object = kb_node_get(event, "object");
    if (kb_str_is(kb_node_text_at(event, "type"), "BOOKMARK") || object == NULL)
        return;
    if (as_table(get))
        print_table(get, &a, object);
    else if (strcmp(get->output, "name") == 0)
        print_names(get, object);
    else
        print_object(get, object);
    fflush(stdout);
}

static bool on_chunk(void *user, kb_str piece)
{
    struct get *get = user;
    while (piece.p) {
        kb_str part = kb_str_cut(&piece, '\n');
        kb_buf_add_str(&get->line, part);
        if (piece.p == NULL)
            break;
        print_event(get, kb_buf_str(&get->line));
        kb_buf_clear(&get->line);
    }
    return true;
}

static int watch(struct get *get, const struct kb_target *target, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    get->resource = target->resource;
    path_of(get, &target->resource, target->name, true, &path);
    struct kb_rest_request request = {.method = "GET",
                                      .path = path.p,
                                      .accept = as_table(get) ? ACCEPT_TABLE : NULL,
                                      .chunk = on_chunk,
                                      .user = get};
    return kb_rest_do(get->session.rest, &request, NULL, err);
}

static bool are_several(const struct kb_target *targets, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (!kb_str_eq(targets[i].resource.plural, targets[0].resource.plural) ||
            !kb_str_eq(targets[i].resource.group, targets[0].resource.group))
            return true;
    return false;
}

static int run(struct get *get, const struct kb_operands *operands, struct kb_err *err)
{
    struct kb_target *targets;
    size_t count;
    int rc = 0;
    if (kb_session_open(&get->session, err) < 0 ||
        kb_session_targets(&get->session, operands, &targets, &count, err) < 0)
        return -err->code;
    get->several = are_several(targets, count);
    if (get->watch && count > 1)
        return kb_err_set(err, KB_EINVAL, "you may only specify a single resource to watch");
    if (get->watch)
        return watch(get, &targets[0], err);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = get_target(get, &targets[i], count == 1, err);
    flush_table(get);
    if (get->items != NULL && rc == 0)
        print_items(get);
    if (rc == 0 && get->printed == 0)
        fprintf(stderr, get->all ? "No resources found\n" : "No resources found in %s namespace.\n",
                kb_session_ns(&get->session));
    return rc;
}

int kb_cmd_get(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(get_finish) struct get get = {.command = command, .output = ""};
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&get.session),
        {"all-namespaces", 'A', KB_OPT_FLAG, &get.all, NULL, "of all namespaces", 0, 0},
        {"output", 'o', KB_OPT_TEXT, &get.output, "FORMAT", "wide, yaml, json or name", 0, 0},
        {"selector", 'l', KB_OPT_TEXT, &get.labels, "SELECTOR", "by labels: app=web,tier!=db", 0,
         0},
        {"field-selector", 0, KB_OPT_TEXT, &get.fields, "SELECTOR", "by fields", 0, 0},
        {"watch", 'w', KB_OPT_FLAG, &get.watch, NULL, "go on and show changes", 0, 0},
        {"show-labels", 0, KB_OPT_FLAG, &get.show_labels, NULL, "a last column of labels", 0, 0},
        {"no-headers", 0, KB_OPT_FLAG, &get.no_headers, NULL, "rows only", 0, 0},
    };
    static const char *const formats[] = {"", "wide", "yaml", "json", "name"};
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    bool known = false;
    for (size_t i = 0; i < KB_COUNT(formats); i++)
        known |= strcmp(get.output, formats[i]) == 0;
    if (!known)
        return kb_command_misuse(command, "-o is wide, yaml, json or name, not '%s'", get.output);
    return run(&get, &operands, &err) < 0 ? kb_command_fail(command, &err) : 0;
}
