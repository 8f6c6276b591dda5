/* columns.c - compiling a kind's columns, and the two arrays of a Table.
 *
 * WHY cells are named functions and not a little language: what kubectl prints for a pod, a node or
 * a service follows from many fields by rules that grew over years; a language for that would be C
 * with worse tools. Everything regular (a path, a count, an age) is a cell too, so there is one
 * mechanism. */
#include "bus/model/columns.h"

#include "bus/base/check.h"
#include "bus/model/columns_cell.h"

#include <stdlib.h>

struct kb_columns {
    struct kb__column *items;
    size_t count, cap;
};

static void column_finish(struct kb__column *column)
{
    free(column->name);
    free(column->type);
    free(column->format);
    free(column->description);
    free(column->of);
    for (size_t i = 0; i < column->npaths; i++)
        kb_jsonpath_destroy(&column->paths[i]);
    kb_jsonpath_destroy(&column->of_path);
    *column = (struct kb__column){0};
}

void kb_columns_destroy(struct kb_columns **columns_p)
{
    struct kb_columns *columns = KB_STEAL(*columns_p);
    if (columns == NULL)
        return;
    for (size_t i = 0; i < columns->count; i++)
        column_finish(&columns->items[i]);
    free(columns->items);
    free(columns);
}

static struct kb_columns *columns_alloc(size_t cap)
{
    struct kb_columns *columns = calloc(1, sizeof(*columns));
    KB_ASSERT(columns != NULL);
    columns->items = calloc(cap, sizeof(*columns->items));
    KB_ASSERT(columns->items != NULL);
    columns->cap = cap;
    return columns;
}

static struct kb__column *column_add(struct kb_columns *columns, const char *name, const char *type,
                                     const char *format, const char *description)
{
    KB_ASSERT(columns->count < columns->cap);
    struct kb__column *column = &columns->items[columns->count++];
    column->name = kb_strf("%s", name);
    column->type = kb_strf("%s", type);
    column->format = kb_strf("%s", format);
    column->description = kb_strf("%s", description);
    return column;
}

static int path_add(struct kb__column *column, kb_str text, struct kb_err *err)
{
    if (text.n == 0)
        return 0;
    if (column->npaths == KB__COLUMN_PATHS)
        return kb_err_set(err, KB_EINVAL, "more than %d paths", KB__COLUMN_PATHS);
    int rc = kb_jsonpath_new(text, &column->paths[column->npaths], err);
    if (rc == 0)
        column->npaths++;
    return rc;
}

/* The words that built-in and user-defined columns share. */
static struct kb__column *column_read(struct kb_columns *columns, kb_val entry)
{
    struct kb__column *column = column_add(columns, "", "", "", "");
    char **const texts[] = {&column->name, &column->type, &column->format, &column->description};
    const char *const words[] = {"name", "type", "format", "description"};
    for (size_t i = 0; i < KB_COUNT(texts); i++) {
        free(*texts[i]);
        *texts[i] = kb_str_dup(kb_val_str_at(entry, words[i]));
    }
    column->priority = kb_val_int_at(entry, "priority", 0);
    return column;
}

static int builtin_read(struct kb_columns *columns, kb_val entry, struct kb_err *err)
{
    struct kb__column *column = column_read(columns, entry);
    kb_str cell = kb_val_str_at(entry, "cell"), of = kb_val_str_at(entry, "of");
    if (cell.n == 0)
        column->cell = kb__cell_crd;
    else if ((column->cell = kb__cell_common(cell)) == NULL &&
             (column->cell = kb__cell_pod(cell)) == NULL &&
             (column->cell = kb__cell_kind(cell)) == NULL &&
             (column->cell = kb__cell_storage(cell)) == NULL)
        return kb_err_set(err, KB_EINVAL, "column '%s': unknown cell '" KB_STR_FMT "'",
                          column->name, KB_STR_ARG(cell));
    int rc = path_add(column, kb_val_str_at(entry, "path"), err);
    for (struct kb_iter it = kb_iter(kb_val_get(entry, "paths")); rc == 0 && kb_iter_next(&it);)
        rc = path_add(column, kb_val_str(it.val), err);
    if (rc == 0 && kb_str_starts(of, "."))
        rc = kb_jsonpath_new(of, &column->of_path, err);
    column->of = kb_str_dup(of);
    return rc < 0 ? kb_err_wrap(err, "column '%s'", column->name) : 0;
}

int kb_columns_new(kb_val entries, struct kb_columns **ret_columns, struct kb_err *err)
{
    KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
    columns = columns_alloc(kb_val_count(entries) + 2);
    for (struct kb_iter it = kb_iter(entries); kb_iter_next(&it);)
        if (builtin_read(columns, it.val, err) < 0)
            return -KB_EINVAL;
    if (columns->count == 0) {
        column_add(columns, "Name", "string", "name", "Name of the object.")->cell = kb__cell_name;
        column_add(columns, "Created At", "date", "", "When the object was created.")->cell =
            kb__cell_created;
    }
    *ret_columns = KB_STEAL(columns);
    return 0;
}

int kb_columns_new_crd(kb_val entries, struct kb_columns **ret_columns, struct kb_err *err)
{
    KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
    columns = columns_alloc(kb_val_count(entries) + 2);
    column_add(columns, "Name", "string", "name", "Name of the object.")->cell = kb__cell_name;
    for (struct kb_iter it = kb_iter(entries); kb_iter_next(&it);) {
        struct kb__column *column = column_read(columns, it.val);
        column->cell = kb__cell_crd;
        if (path_add(column, kb_val_str_at(it.val, "jsonPath"), err) < 0)
            return kb_err_wrap(err, "column '%s'", column->name);
    }
    if (columns->count == 1)
        column_add(columns, "Age", "date", "", "Time since the object was created.")->cell =
            kb__cell_age;
    *ret_columns = KB_STEAL(columns);
    return 0;
}

size_t kb_columns_count(const struct kb_columns *columns)
{
    return columns->count;
}

void kb_columns_definitions(const struct kb_columns *columns, struct kb_w *w)
{
    kb_w_array(w);
    for (size_t i = 0; i < columns->count; i++) {
        const struct kb__column *column = &columns->items[i];
        kb_w_map(w);
        kb_w_kcstr(w, "name", column->name);
        kb_w_kcstr(w, "type", column->type);
        kb_w_kcstr(w, "format", column->format);
        kb_w_kcstr(w, "description", column->description);
        kb_w_kint(w, "priority", column->priority);
        kb_w_end(w);
    }
    kb_w_end(w);
}

void kb_columns_row(const struct kb_columns *columns, kb_val object, int64_t now_wall_us,
                    struct kb_w *w)
{
    struct kb__row row = {.object = object, .now_us = now_wall_us};
    kb_w_array(w);
    for (size_t i = 0; i < columns->count; i++)
        columns->items[i].cell(&columns->items[i], &row, w);
    kb_w_end(w);
}
