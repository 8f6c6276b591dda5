/* jsonpath.c - a path becomes a list of steps; a walk is a recursion over the steps.
 *
 * WHY steps and not an interpreter of the text: a column is compiled once and run for every row of
 * every list. The texts of names live in one copy of the path's text, unescaped in place. */
#include "bus/model/jsonpath.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"

#include <stdlib.h>

enum step_how { STEP_NAME, STEP_INDEX, STEP_ALL, STEP_SLICE, STEP_FILTER };
enum compare { CMP_EXISTS, CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE };

struct step {
    enum step_how how;
    kb_str name;
    int64_t from, to;           /* INDEX: from; SLICE: both */
    bool open;                  /* SLICE without an end */
    struct kb_jsonpath *filter; /* FILTER: what follows the @ */
    enum compare compare;
    enum kb_type want_type; /* STR, INT, DOUBLE or BOOL */
    kb_str want_str;
    double want_num;
};

struct kb_jsonpath {
    char *text; /* unescaped names point in here */
    struct step *steps;
    size_t count, cap;
};

struct reader {
    char *at, *end;
    struct kb_err *err;
    struct kb_jsonpath *path;
};

static int broken(struct reader *r, const char *what)
{
    return kb_err_set(r->err, KB_EINVAL, "JSONPath: %s at '%.*s'", what, (int)(r->end - r->at),
                      r->at);
}

static struct step *step_add(struct kb_jsonpath *path, enum step_how how)
{
    KB_GROW(path->steps, path->count, path->cap, 4);
    struct step *step = &path->steps[path->count++];
    *step = (struct step){.how = how};
    return step;
}

/* A name after a dot: up to the next dot or bracket, `\` takes the next character as it is. */
static int read_name(struct reader *r)
{
    char *start = r->at, *out = r->at;
    while (r->at < r->end && *r->at != '.' && *r->at != '[') {
        if (*r->at == '\\' && r->at + 1 < r->end)
            r->at++;
        *out++ = *r->at++;
    }
    if (out == start)
        return broken(r, "a name is missing");
    if (out == start + 1 && *start == '*')
        step_add(r->path, STEP_ALL);
    else
        step_add(r->path, STEP_NAME)->name = kb_str_n(start, (size_t)(out - start));
    return 0;
}

/* 'text' or "text", standing at its quote. */
static int read_quoted(struct reader *r, kb_str *ret)
{
    char quote = *r->at++, *start = r->at, *out = r->at;
    while (r->at < r->end && *r->at != quote) {
        if (*r->at == '\\' && r->at + 1 < r->end)
            r->at++;
        *out++ = *r->at++;
    }
    if (r->at == r->end)
        return broken(r, "a quote is not closed");
    r->at++;
    *ret = kb_str_n(start, (size_t)(out - start));
    return 0;
}

static bool skip(struct reader *r, const char *token)
{
    size_t n = strlen(token);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, token, n) != 0)
        return false;
    r->at += n;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
}

static int read_int(struct reader *r, int64_t *ret)
{
    char *start = r->at;
    if (r->at < r->end && *r->at == '-')
        r->at++;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    if (!kb_str_i64(kb_str_n(start, (size_t)(r->at - start)), ret))
        return broken(r, "not an index");
    return 0;
}

static int read_steps(struct reader *r, const char *stop);

static enum compare read_compare(struct reader *r)
{
    static const struct {
        const char *token;
        enum compare compare;
    } table[] = {{"==", CMP_EQ}, {"!=", CMP_NE}, {"<=", CMP_LE},
                 {">=", CMP_GE}, {"<", CMP_LT},  {">", CMP_GT}};
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (skip(r, table[i].token))
            return table[i].compare;
    return CMP_EXISTS;
}

/* The constant on the right of a comparison. */
static int read_constant(struct reader *r, struct step *step)
{
    if (r->at < r->end && (*r->at == '"' || *r->at == '\'')) {
        step->want_type = KB_STR;
        return read_quoted(r, &step->want_str);
    }
    step->want_type = KB_BOOL;
    if (skip(r, "true") || skip(r, "false")) {
        step->want_num = r->at[-2] == 'u';
        return 0;
    }
    char text[48];
    size_t n = 0;
    while (r->at + n < r->end && n + 1 < sizeof(text) && strchr("+-.0123456789eE", r->at[n]))
        n++;
    memcpy(text, r->at, n);
    text[n] = '\0';
    char *end = text;
    step->want_type = KB_DOUBLE;
    step->want_num = strtod(text, &end);
    if (n == 0 || *end != '\0')
        return broken(r, "not a constant");
    r->at += n;
    return 0;
}

/* ?(@.a.b == "c"), standing behind the `?(`. */
static int read_filter(struct reader *r)
{
    skip_space(r);
    if (!skip(r, "@"))
        return broken(r, "a filter begins with @");
    struct step step = {.how = STEP_FILTER};
    struct kb_jsonpath *outer = r->path;
    step.filter = calloc(1, sizeof(*step.filter));
    KB_ASSERT(step.filter != NULL);
    *step_add(outer, STEP_FILTER) = step;
    r->path = step.filter;
    int rc = read_steps(r, " =!<>)");
    r->path = outer;
    if (rc < 0)
        return rc;
    struct step *added = &outer->steps[outer->count - 1];
    skip_space(r);
    added->compare = read_compare(r);
    skip_space(r);
    if (added->compare != CMP_EXISTS && read_constant(r, added) < 0)
        return -KB_EINVAL;
    skip_space(r);
    return skip(r, ")") ? 0 : broken(r, "a filter is not closed");
}

/* What stands in brackets, standing behind the `[`. */
static int read_bracket(struct reader *r)
{
    int rc = 0;
    if (skip(r, "*")) {
        step_add(r->path, STEP_ALL);
    } else if (skip(r, "?(")) {
        rc = read_filter(r);
    } else if (r->at < r->end && (*r->at == '\'' || *r->at == '"')) {
        struct step *step = step_add(r->path, STEP_NAME);
        rc = read_quoted(r, &step->name);
    } else {
        struct step *step = step_add(r->path, STEP_INDEX);
        if (r->at < r->end && *r->at != ':')
            rc = read_int(r, &step->from);
        if (rc == 0 && skip(r, ":")) {
            step->how = STEP_SLICE;
            step->open = r->at < r->end && *r->at == ']';
            if (!step->open)
                rc = read_int(r, &step->to);
        }
    }
    if (rc < 0)
        return rc;
    return skip(r, "]") ? 0 : broken(r, "a bracket is not closed");
}

/* Steps up to the end, or up to one of the characters in `stop` between two steps. */
static int read_steps(struct reader *r, const char *stop)
{
    while (r->at < r->end && !strchr(stop, *r->at)) {
        if (r->path->count >= KB_DEPTH_MAX)
            return broken(r, "too long");
        int rc;
        if (skip(r, "[")) {
            rc = read_bracket(r);
        } else if (skip(r, ".")) {
            if (r->at == r->end && r->path->count == 0)
                return 0; /* "." is the value itself */
            if (r->at < r->end && *r->at == '[')
                continue;
            if (*stop == '\0') {
                rc = read_name(r);
            } else { /* within a filter a name ends at the comparison as well */
                char *end = r->end;
                char *cut = r->at + strcspn(r->at, stop);
                r->end = cut < end ? cut : end;
                rc = read_name(r);
                r->end = end;
            }
        } else {
            rc = broken(r, "neither a dot nor a bracket");
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int kb_jsonpath_new(kb_str text, struct kb_jsonpath **ret_path, struct kb_err *err)
{
    KB_AUTO(kb_jsonpath_destroy) struct kb_jsonpath *path = calloc(1, sizeof(*path));
    KB_ASSERT(path != NULL);
    if (text.n > KB_PATH_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "JSONPath is longer than %u bytes", KB_PATH_MAX_BYTES);
    text = kb_str_trim(text);
    if (text.n >= 2 && text.p[0] == '{' && text.p[text.n - 1] == '}')
        text = kb_str_n(text.p + 1, text.n - 2);
    if (text.n > 0 && text.p[0] == '$')
        text = kb_str_n(text.p + 1, text.n - 1);
    bool bare = text.n > 0 && text.p[0] != '.' && text.p[0] != '[';
    path->text = kb_strf("%s" KB_STR_FMT, bare ? "." : "", KB_STR_ARG(text));
    struct reader r = {path->text, path->text + strlen(path->text), err, path};
    if (read_steps(&r, "") < 0)
        return -KB_EINVAL;
    *ret_path = KB_STEAL(path);
    return 0;
}

void kb_jsonpath_destroy(struct kb_jsonpath **path_p)
{
    struct kb_jsonpath *path = KB_STEAL(*path_p);
    if (path == NULL)
        return;
    for (size_t i = 0; i < path->count; i++)
        kb_jsonpath_destroy(&path->steps[i].filter);
    free(path->steps);
    free(path->text);
    free(path);
}

static bool keep(void *context, kb_val val)
{
    *(kb_val *)context = val;
    return false;
}

static bool ordered(enum compare compare, int order)
{
    switch (compare) {
    case CMP_EQ:
        return order == 0;
    case CMP_NE:
        return order != 0;
    case CMP_LT:
        return order < 0;
    case CMP_LE:
        return order <= 0;
    case CMP_GT:
        return order > 0;
    case CMP_GE:
        return order >= 0;
    case CMP_EXISTS:
        return true;
    }
    return false;
}

static bool filter_holds(const struct step *step, kb_val item)
{
    kb_val val = kb_jsonpath_first(step->filter, item);
    enum kb_type type = kb_val_type(val);
    if (type == KB_NONE)
        return false;
    if (step->compare == CMP_EXISTS)
        return true;
    bool numeric = type == KB_INT || type == KB_DOUBLE;
    if (step->want_type == KB_STR && type == KB_STR)
        return ordered(step->compare, kb_str_cmp(kb_val_str(val), step->want_str));
    if (step->want_type == KB_BOOL && type == KB_BOOL)
        return ordered(step->compare, kb_val_bool(val, false) - (step->want_num != 0));
    if (step->want_type == KB_DOUBLE && numeric) {
        double num = kb_val_double(val, 0);
        return ordered(step->compare, (num > step->want_num) - (num < step->want_num));
    }
    return step->compare == CMP_NE; /* different types are different */
}

/* `from` and `to` as positions in a list of `n`; negative ones count from the end. */
static void bounds(const struct step *step, size_t n, size_t *ret_from, size_t *ret_to)
{
    int64_t len = (int64_t)n;
    int64_t from = step->from < 0 ? step->from + len : step->from;
    int64_t to = step->how == STEP_INDEX ? from + 1
                 : step->open            ? len
                 : step->to < 0          ? step->to + len
                                         : step->to;
    bool outside = from < 0 || from >= len;
    *ret_from = outside ? 0 : (size_t)from;
    *ret_to = outside || to <= from ? 0 : (size_t)(to < len ? to : len);
}

/* Visit what the steps from `at` on lead to; false when the visitor ended the walk. */
static bool walk(const struct kb_jsonpath *path, size_t at, kb_val val, kb_jsonpath_fn visit,
                 void *context)
{
    if (at == path->count)
        return kb_val_type(val) == KB_NONE || visit(context, val);
    const struct step *step = &path->steps[at];
    if (step->how == STEP_NAME) {
        kb_val sub = kb_val_type(val) == KB_MAP ? kb_val_getn(val, step->name) : (kb_val){0};
        return kb_val_type(sub) == KB_NONE || walk(path, at + 1, sub, visit, context);
    }
    bool list = kb_val_type(val) == KB_ARRAY;
    size_t from = 0, to = SIZE_MAX, position = 0;
    if (step->how == STEP_INDEX || step->how == STEP_SLICE)
        bounds(step, list ? kb_val_count(val) : 0, &from, &to);
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it); position++) {
        if (position < from || position >= to || (step->how == STEP_FILTER && !list) ||
            (step->how == STEP_FILTER && !filter_holds(step, it.val)))
            continue;
        if (!walk(path, at + 1, it.val, visit, context))
            return false;
    }
    return true;
}

void kb_jsonpath_each(const struct kb_jsonpath *path, kb_val root, kb_jsonpath_fn visit,
                      void *context)
{
    walk(path, 0, root, visit, context);
}

kb_val kb_jsonpath_first(const struct kb_jsonpath *path, kb_val root)
{
    kb_val found = {0};
    walk(path, 0, root, keep, &found);
    return found;
}
