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
    bool all, watch, no_headers;
    const char *names[256];
    size_t name_count;
    struct kb_buf line; /* of a watch: what has come of the next event */
    bool headed;        /* of a watch: the header was printed */
    size_t width[COLUMNS_MAX];
};

static void get_finish(struct get *get)
{
    kb_session_finish(&get->session);
    kb_buf_finish(&get->line);
}

static void path_of(struct get *get, const char *name, bool watch, struct kb_buf *out)
{
    const char *ns = get->all ? "" : kb_session_ns(&get->session);
    kb_buf_puts(out, kb_rest_path(&get->session.arena, &get->resource, ns, watch ? NULL : name));
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
    }
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

static void print_answer(struct get *get, struct kb_node *answer)
{
    if (as_table(get))
        print_table(get, &get->session.arena, answer);
    else if (strcmp(get->output, "name") == 0)
        print_names(get, answer);
    else
        print_object(get, answer);
}

static int get_one(struct get *get, const char *name, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    struct kb_node *answer = NULL;
    path_of(get, name, false, &path);
    struct kb_rest_request request = {
        .method = "GET", .path = path.p, .accept = as_table(get) ? ACCEPT_TABLE : NULL};
    int rc = kb_rest_json(get->session.rest, &request, &get->session.arena, &answer, err);
    if (rc < 0)
        return rc;
    const struct kb_node *rows = kb_node_get(answer, "rows");
    if (as_table(get) && rows && rows->count == 0)
        fprintf(stderr, get->all ? "No resources found\n" : "No resources found in %s namespace.\n",
                kb_session_ns(&get->session));
    else
        print_answer(get, answer);
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
    else
        print_answer(get, object);
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

static int watch(struct get *get, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    path_of(get, get->name_count ? get->names[0] : NULL, true, &path);
    struct kb_rest_request request = {.method = "GET",
                                      .path = path.p,
                                      .accept = as_table(get) ? ACCEPT_TABLE : NULL,
                                      .chunk = on_chunk,
                                      .user = get};
    return kb_rest_do(get->session.rest, &request, NULL, err);
}

static int run(struct get *get, const struct kb_operands *operands, struct kb_err *err)
{
    if (kb_session_open(&get->session, err) < 0 ||
        kb_session_operands(&get->session, operands, &get->resource, get->names,
                            KB_COUNT(get->names), &get->name_count, err) < 0)
        return -err->code;
    if (get->watch)
        return watch(get, err);
    if (get->name_count == 0)
        return get_one(get, NULL, err);
    for (size_t i = 0; i < get->name_count; i++)
        if (get_one(get, get->names[i], err) < 0)
            return -err->code;
    return 0;
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
