/* Cells of any kind: paths, counts, ages, labels; and those of user-defined columns. */
#include "bus/model/columns_cell.h"

#include "bus/base/clock.h"
#include "bus/model/json.h"
#include "bus/model/selector.h"

#include <stdio.h>

/* ---- helpers ---- */

kb_val kb__cell_val(const struct kb__column *column, const struct kb__row *row)
{
    return column->npaths > 0 ? kb_jsonpath_first(column->paths[0], row->object) : (kb_val){0};
}

int64_t kb__time_us(kb_val val)
{
    char text[KB_TIME_BYTES * 2];
    int64_t us;
    kb_str s = kb_val_str(val);
    if (s.n == 0 || !kb_str_copy(s, text, sizeof(text)) || kb_time_parse(text, &us) < 0)
        return 0;
    return us;
}

/* Two units below some point, one above it: as precise as a reader wants at that age. */
void kb_age_format(int64_t span_us, char out[KB_AGE_BYTES])
{
    int64_t s = span_us / 1000000, m = s / 60, h = m / 60, d = h / 24;
    struct {
        int64_t below, value, rest; /* of the first number's unit: limit, number, second number */
        const char *unit, *rest_unit;
    } forms[] = {
        {120, s, 0, "s", ""},
        {600, m, s % 60, "m", "s"},
        {3 * 3600, m, 0, "m", ""},
        {8 * 3600, h, m % 60, "h", "m"},
        {48 * 3600, h, 0, "h", ""},
        {8 * 86400, d, h % 24, "d", "h"},
        {INT64_C(2) * 365 * 86400, d, 0, "d", ""},
        {INT64_C(8) * 365 * 86400, d / 365, d % 365, "y", "d"},
        {INT64_MAX, d / 365, 0, "y", ""},
    };
    if (s < -1) {
        snprintf(out, KB_AGE_BYTES, "<invalid>");
        return;
    }
    size_t i = 0;
    while (s >= forms[i].below && i + 1 < KB_COUNT(forms))
        i++;
    int64_t value = forms[i].value > 0 ? forms[i].value : 0;
    if (forms[i].rest > 0)
        snprintf(out, KB_AGE_BYTES, "%lld%s%lld%s", (long long)value, forms[i].unit,
                 (long long)forms[i].rest, forms[i].rest_unit);
    else
        snprintf(out, KB_AGE_BYTES, "%lld%s", (long long)value, forms[i].unit);
}

void kb__since_text(const struct kb__row *row, int64_t then_us, char out[KB_AGE_BYTES])
{
    if (then_us == 0)
        snprintf(out, KB_AGE_BYTES, "<unknown>");
    else
        kb_age_format(row->now_us - then_us, out);
}

void kb__cell_since(const struct kb__row *row, int64_t then_us, struct kb_w *w)
{
    char text[KB_AGE_BYTES];
    kb__since_text(row, then_us, text);
    kb_w_cstr(w, text);
}

void kb__cell_or(struct kb_w *w, kb_str text, const char *otherwise)
{
    if (text.n > 0)
        kb_w_str(w, text);
    else
        kb_w_cstr(w, otherwise);
}

static void write_buf_or(struct kb_w *w, struct kb_buf *buf, const char *otherwise)
{
    kb__cell_or(w, kb_buf_str(buf), otherwise);
}

/* ---- cells ---- */

void kb__cell_name(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_w_str(w, kb_val_str_at(row->object, "metadata.name"));
}

void kb__cell_created(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_w_raw(w, kb_val_at(row->object, "metadata.creationTimestamp"));
}

void kb__cell_age(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_val then = column->npaths > 0 ? kb__cell_val(column, row)
                                     : kb_val_at(row->object, "metadata.creationTimestamp");
    kb__cell_since(row, kb__time_us(then), w);
}

static void cell_integer(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_w_int(w, kb_val_int(kb__cell_val(column, row), 0));
}

static void cell_boolean(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_w_bool(w, kb_val_bool(kb__cell_val(column, row), false));
}

/* A number or a text, as text. */
static void cell_value_or_na(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    char text[24];
    kb_val val = kb__cell_val(column, row);
    if (kb_val_type(val) != KB_INT) {
        kb__cell_or(w, kb_val_str(val), "N/A");
        return;
    }
    snprintf(text, sizeof(text), "%lld", (long long)kb_val_int(val, 0));
    kb_w_cstr(w, text);
}

static void cell_count(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    size_t n = 0;
    for (size_t i = 0; i < column->npaths; i++)
        n += kb_val_count(kb_jsonpath_first(column->paths[i], row->object));
    kb_w_int(w, (int64_t)n);
}

static void cell_ready_of(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    char text[48];
    kb_val of = column->of_path ? kb_jsonpath_first(column->of_path, row->object) : (kb_val){0};
    snprintf(text, sizeof(text), "%lld/%lld", (long long)kb_val_int(kb__cell_val(column, row), 0),
             (long long)kb_val_int(of, 0));
    kb_w_cstr(w, text);
}

static bool join_one(void *context, kb_val val)
{
    struct kb_buf *out = context;
    kb_buf_puts(out, out->n > 0 ? "," : "");
    kb_buf_add_str(out, kb_val_str(val));
    return true;
}

static void cell_join(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    if (column->npaths > 0)
        kb_jsonpath_each(column->paths[0], row->object, join_one, &out);
    write_buf_or(w, &out, "");
}

static void cell_text(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_w_str(w, kb_val_str(kb__cell_val(column, row)));
}

static void cell_text_or_none(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb__cell_or(w, kb_val_str(kb__cell_val(column, row)), "<none>");
}

static void cell_text_or_unknown(const struct kb__column *column, struct kb__row *row,
                                 struct kb_w *w)
{
    kb__cell_or(w, kb_val_str(kb__cell_val(column, row)), "<unknown>");
}

static void cell_trimmed(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_w_str(w, kb_str_trim(kb_val_str(kb__cell_val(column, row))));
}

static void cell_labels(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    KB_AUTO(kb_selector_destroy)
    struct kb_selector *selector = kb_selector_of_map(kb__cell_val(column, row));
    kb_selector_format(selector, &out);
    write_buf_or(w, &out, "<none>");
}

static void cell_label_selector(const struct kb__column *column, struct kb__row *row,
                                struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    if (kb_selector_of(kb__cell_val(column, row), &selector, NULL) < 0) {
        kb_w_cstr(w, "<error>");
        return;
    }
    kb_selector_format(selector, &out);
    write_buf_or(w, &out, "<none>");
}

kb__cell_fn kb__cell_common(kb_str name)
{
    static const struct {
        const char *name;
        kb__cell_fn fn;
    } table[] = {
        {"name", kb__cell_name},
        {"age", kb__cell_age},
        {"integer", cell_integer},
        {"boolean", cell_boolean},
        {"value-or-na", cell_value_or_na},
        {"count", cell_count},
        {"ready-of", cell_ready_of},
        {"join", cell_join},
        {"text", cell_text},
        {"text-or-none", cell_text_or_none},
        {"text-or-unknown", cell_text_or_unknown},
        {"trimmed", cell_trimmed},
        {"labels", cell_labels},
        {"label-selector", cell_label_selector},
    };
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (kb_str_is(name, table[i].name))
            return table[i].fn;
    return NULL;
}

/* ---- user-defined columns ---- */

static void crd_string(kb_val val, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    char text[40];
    switch (kb_val_type(val)) {
    case KB_STR:
        kb_w_str(w, kb_val_str(val));
        return;
    case KB_BOOL:
        kb_w_cstr(w, kb_val_bool(val, false) ? "true" : "false");
        return;
    case KB_INT:
        snprintf(text, sizeof(text), "%lld", (long long)kb_val_int(val, 0));
        kb_w_cstr(w, text);
        return;
    case KB_DOUBLE:
        kb_json_write_double(&json, kb_val_double(val, 0));
        kb_w_str(w, kb_buf_str(&json));
        return;
    case KB_ARRAY:
    case KB_MAP:
        kb_json_write(&json, val, KB_JSON_SORTED);
        kb_w_str(w, kb_buf_str(&json));
        return;
    default:
        kb_w_nil(w);
    }
}

static void crd_date(const struct kb__row *row, kb_val val, struct kb_w *w)
{
    int64_t then = kb__time_us(val);
    if (kb_val_type(val) != KB_STR)
        kb_w_nil(w);
    else if (then == 0)
        kb_w_cstr(w, "<invalid>");
    else
        kb__cell_since(row, then, w);
}

void kb__cell_crd(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_val val = kb__cell_val(column, row);
    enum kb_type type = kb_val_type(val);
    bool number = type == KB_INT || type == KB_DOUBLE;
    if (strcmp(column->type, "string") == 0)
        crd_string(val, w);
    else if (strcmp(column->type, "date") == 0)
        crd_date(row, val, w);
    else if (strcmp(column->type, "integer") == 0 && number)
        kb_w_int(w, kb_val_int(val, (int64_t)kb_val_double(val, 0)));
    else if (strcmp(column->type, "number") == 0 && number)
        kb_w_raw(w, val);
    else if (strcmp(column->type, "boolean") == 0 && type == KB_BOOL)
        kb_w_bool(w, kb_val_bool(val, false));
    else
        kb_w_nil(w);
}
