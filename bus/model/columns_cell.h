/* What the functions behind `cell: NAME` share. Private to bus/model. */
#ifndef KUBUS_MODEL_COLUMNS_CELL_H
#define KUBUS_MODEL_COLUMNS_CELL_H

#include "bus/model/columns.h"
#include "bus/model/jsonpath.h"

enum { KB__COLUMN_PATHS = 4 };

/* What a pod's containers add up to; several cells show parts of it. */
struct kb__pod_cells {
    bool made;
    int64_t restarts, ready, total;
    int64_t last_restart_us; /* 0: never */
    char reason[128];
};

struct kb__row {
    kb_val object;
    int64_t now_us;
    struct kb__pod_cells pod;
};

struct kb__column;
typedef void (*kb__cell_fn)(const struct kb__column *column, struct kb__row *row, struct kb_w *w);

struct kb__column {
    char *name, *type, *format, *description;
    int64_t priority;
    kb__cell_fn cell;
    struct kb_jsonpath *paths[KB__COLUMN_PATHS];
    size_t npaths;
    struct kb_jsonpath *of_path;
    char *of; /* a word that the cell understands, where it is no path */
};

/* The function of a cell's name; NULL when unknown. One table each for cells of any kind, and for
 * those that know one kind. */
kb__cell_fn kb__cell_common(kb_str name);
kb__cell_fn kb__cell_pod(kb_str name);
kb__cell_fn kb__cell_kind(kb_str name);
kb__cell_fn kb__cell_storage(kb_str name);
/* The cell of a user-defined column: what its type says. */
void kb__cell_crd(const struct kb__column *column, struct kb__row *row, struct kb_w *w);
void kb__cell_name(const struct kb__column *column, struct kb__row *row, struct kb_w *w);
void kb__cell_age(const struct kb__column *column, struct kb__row *row, struct kb_w *w);
void kb__cell_created(const struct kb__column *column, struct kb__row *row, struct kb_w *w);

/* The first value at the column's first path. */
kb_val kb__cell_val(const struct kb__column *column, const struct kb__row *row);
/* Microseconds of a time in a document; 0 when absent or not a time. */
int64_t kb__time_us(kb_val val);
/* Write how long ago; "<unknown>" for 0. */
void kb__cell_since(const struct kb__row *row, int64_t then_us, struct kb_w *w);
void kb__since_text(const struct kb__row *row, int64_t then_us, char out[KB_AGE_BYTES]);
/* Write the text, or `otherwise` when it is empty. */
void kb__cell_or(struct kb_w *w, kb_str text, const char *otherwise);

#endif
