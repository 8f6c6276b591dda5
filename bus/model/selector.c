/* selector.c - label selectors: text or object → sorted requirements → match. */
#include "bus/model/selector.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"
#include "bus/model/requirement.h"

#include <ctype.h>
#include <stdlib.h>

/* One requirement; `a=b` is IN (b), `a!=b` is NOT_IN (b). Values are sorted and distinct. */
struct kb_requirement {
    kb_str key;
    enum kb_op op;
    bool equality; /* was written with = or != */
    uint32_t value_count;
    const kb_str *values;
    int64_t bound; /* of GT and LT */
};

struct kb_selector {
    struct kb_arena arena;
    struct kb_requirement *reqs;
    uint32_t count, cap;
    bool nothing;
};

/* ---- what a label may be ---- */

static bool alnum(char c)
{
    return isalnum((unsigned char)c) != 0;
}

static bool name_shape(kb_str s)
{
    if (s.n == 0 || !alnum(s.p[0]) || !alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    return true;
}

static bool subdomain_shape(kb_str s)
{
    while (s.p) {
        kb_str part = kb_str_cut(&s, '.');
        if (part.n == 0 || !alnum(part.p[0]) || !alnum(part.p[part.n - 1]))
            return false;
        for (size_t i = 0; i < part.n; i++)
            if ((!alnum(part.p[i]) && part.p[i] != '-') || isupper((unsigned char)part.p[i]))
                return false;
    }
    return true;
}

const char *kb_label_key_problem(kb_str key)
{
    kb_str name = key, prefix = kb_str_cut(&name, '/');
    bool prefixed = name.p != NULL;
    if (!prefixed)
        name = prefix;
    else if (prefix.n == 0)
        return "prefix part must be non-empty";
    else if (prefix.n > KB_NAME_MAX_BYTES)
        return "prefix part must be no more than 253 characters";
    else if (!subdomain_shape(prefix))
        return "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
               "characters, '-' or '.', and must start and end with an alphanumeric character "
               "(e.g. 'example.com', regex used for validation is "
               "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if (kb_str_has(name, '/'))
        return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
               "must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  "
               "or '123-abc', regex used for validation is "
               "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix "
               "and '/' (e.g. 'example.com/MyName')";
    if (name.n == 0)
        return "name part must be non-empty";
    if (name.n > 63)
        return "name part must be no more than 63 characters";
    return name_shape(name)
               ? NULL
               : "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
                 "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                 "'123-abc', regex used for validation is "
                 "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
}

const char *kb_label_value_problem(kb_str value)
{
    if (value.n > 63)
        return "must be no more than 63 characters";
    return value.n == 0 || name_shape(value)
               ? NULL
               : "a valid label must be an empty string or consist of alphanumeric characters, "
                 "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                 "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                 "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

/* ---- building ---- */

static struct kb_selector *selector_new(void)
{
    struct kb_selector *s = calloc(1, sizeof(*s));
    KB_ASSERT(s != NULL);
    return s;
}

void kb_selector_destroy(struct kb_selector **selector_p)
{
    struct kb_selector *s = KB_STEAL(*selector_p);
    if (s == NULL)
        return;
    kb_arena_finish(&s->arena);
    free(s->reqs);
    free(s);
}

/* Values while they are collected. */
struct values {
    kb_str *v;
    uint32_t count, cap;
};

static void values_finish(struct values *values)
{
    free(values->v);
}

static void values_add(struct values *values, kb_str value)
{
    KB_GROW(values->v, values->count, values->cap, 8);
    values->v[values->count++] = value;
}

static int values_order(const void *a, const void *b)
{
    return kb_str_cmp(*(const kb_str *)a, *(const kb_str *)b);
}

static void values_sort(struct values *values)
{
    if (values->count < 2)
        return;
    qsort(values->v, values->count, sizeof(*values->v), values_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < values->count; i++)
        if (!kb_str_eq(values->v[i], values->v[kept - 1]))
            values->v[kept++] = values->v[i];
    values->count = kept;
}

static int values_check(kb_str key, enum kb_op op, const struct values *values, int64_t *ret_bound,
                        struct kb_err *err)
{
    if ((op == KB_OP_IN || op == KB_OP_NOT_IN) && values->count == 0)
        return kb_err_set(
            err, KB_EINVAL,
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't "
            "be empty");
    if ((op == KB_OP_EXISTS || op == KB_OP_DOES_NOT_EXIST) && values->count != 0)
        return kb_err_set(err, KB_EINVAL,
                          "values: Invalid value: values set must be empty for exists and does not "
                          "exist");
    if (op == KB_OP_GT || op == KB_OP_LT) {
        if (values->count != 1)
            return kb_err_set(err, KB_EINVAL,
                              "values: Invalid value: for 'Gt', 'Lt' operators, exactly one value "
                              "is required");
        if (!kb_str_i64(values->v[0], ret_bound))
            return kb_err_set(err, KB_EINVAL,
                              "values[0]: Invalid value: \"" KB_STR_FMT "\": for 'Gt', 'Lt' "
                              "operators, the value must be an integer",
                              KB_STR_ARG(values->v[0]));
    }
    for (uint32_t i = 0; i < values->count; i++) {
        const char *problem = kb_label_value_problem(values->v[i]);
        if (problem)
            return kb_err_set(err, KB_EINVAL,
                              "values[%u][" KB_STR_FMT "]: Invalid value: \"%.*s\": %s", i,
                              KB_STR_ARG(key), values->v[i].n > 80 ? 80 : (int)values->v[i].n,
                              values->v[i].p, problem);
    }
    return 0;
}

static int check_key(kb_str key, struct kb_err *err)
{
    const char *problem = kb_label_key_problem(key);
    if (problem == NULL)
        return 0;
    return kb_err_set(err, KB_EINVAL, "<nil>: Invalid value: \"%.*s\": %s",
                      key.n > 80 ? 80 : (int)key.n, key.p ? key.p : "", problem);
}

static void selector_push(struct kb_selector *s, const struct kb_requirement *req)
{
    KB_GROW(s->reqs, s->count, s->cap, 4);
    /* Sorted by key; equal keys stay in the order of the text. */
    uint32_t at = s->count++;
    for (; at > 0 && kb_str_cmp(s->reqs[at - 1].key, req->key) > 0; at--)
        s->reqs[at] = s->reqs[at - 1];
    s->reqs[at] = *req;
}

static int selector_add(struct kb_selector *s, kb_str key, enum kb_op op, bool equality,
                        struct values *values, struct kb_err *err)
{
    struct kb_requirement req = {.op = op, .equality = equality};
    int rc = values_check(key, op, values, &req.bound, err);
    if (rc < 0)
        return rc;
    values_sort(values);
    kb_str *copy = kb_arena_alloc(&s->arena, (values->count + 1) * sizeof(*copy));
    for (uint32_t i = 0; i < values->count; i++)
        copy[i] = kb_arena_str(&s->arena, values->v[i]);
    req.key = kb_arena_str(&s->arena, key);
    req.values = copy;
    req.value_count = values->count;
    selector_push(s, &req);
    return 0;
}

/* ---- from text ---- */

enum token { T_END, T_ID, T_COMMA, T_OPEN, T_CLOSE, T_EQ, T_EQ2, T_NE, T_NOT, T_GT, T_LT, T_BAD };

struct lexer {
    const char *p, *end;
    enum token token; /* the one that is next */
    kb_str text;      /* of it */
};

static bool special(char c)
{
    return c && strchr("=!(),<>", c);
}

static void lex(struct lexer *l)
{
    static const struct {
        const char *text;
        enum token token;
    } symbols[] = {{"==", T_EQ2},  {"!=", T_NE},   {"=", T_EQ}, {"!", T_NOT}, {"(", T_OPEN},
                   {")", T_CLOSE}, {",", T_COMMA}, {">", T_GT}, {"<", T_LT}};
    while (l->p < l->end && strchr(" \t\r\n", *l->p) && *l->p)
        l->p++;
    kb_str rest = kb_str_n(l->p, (size_t)(l->end - l->p));
    l->token = rest.n ? T_ID : T_END;
    l->text = kb_str_n(l->p, 0);
    for (size_t i = 0; i < KB_COUNT(symbols); i++)
        if (kb_str_starts(rest, symbols[i].text)) {
            l->token = symbols[i].token;
            l->text.n = strlen(symbols[i].text);
            l->p += l->text.n;
            return;
        }
    while (l->p < l->end && !special(*l->p) && !(strchr(" \t\r\n", *l->p) && *l->p))
        l->p++;
    l->text.n = (size_t)(l->p - l->text.p);
}

static int found(const struct lexer *l, const char *expected, struct kb_err *err)
{
    return kb_err_set(err, KB_EINVAL, "found '%.*s', expected: %s",
                      l->text.n > 80 ? 80 : (int)l->text.n, l->text.p, expected);
}

/* "(x,y)": an empty place between commas is the empty value. */
static int parse_values(struct lexer *l, struct values *values, struct kb_err *err)
{
    if (l->token != T_OPEN)
        return found(l, "'('", err);
    lex(l);
    if (l->token == T_CLOSE) {
        lex(l);
        return 0;
    }
    for (;;) {
        kb_str value = kb_str_n("", 0);
        if (l->token == T_ID) {
            value = l->text;
            lex(l);
        }
        values_add(values, value);
        if (l->token == T_CLOSE)
            break;
        if (l->token != T_COMMA)
            return found(l, "',' or ')'", err);
        lex(l);
    }
    lex(l);
    return 0;
}

/* "= value": the value may be empty before a comma or the end. */
static int parse_exact(struct lexer *l, struct values *values, struct kb_err *err)
{
    if (l->token == T_ID) {
        values_add(values, l->text);
        lex(l);
        return 0;
    }
    if (l->token != T_END && l->token != T_COMMA)
        return found(l, "identifier", err);
    values_add(values, kb_str_n("", 0));
    return 0;
}

static int parse_operator(struct lexer *l, enum kb_op *op, bool *equality, struct values *values,
                          struct kb_err *err)
{
    enum token token = l->token;
    kb_str text = l->text;
    if (token == T_ID && (kb_str_is(text, "in") || kb_str_is(text, "notin"))) {
        *op = kb_str_is(text, "in") ? KB_OP_IN : KB_OP_NOT_IN;
        lex(l);
        return parse_values(l, values, err);
    }
    switch (token) {
    case T_EQ:
    case T_EQ2:
    case T_NE:
        *equality = true;
        *op = token == T_NE ? KB_OP_NOT_IN : KB_OP_IN;
        break;
    case T_GT:
        *op = KB_OP_GT;
        break;
    case T_LT:
        *op = KB_OP_LT;
        break;
    default:
        return found(l, "in, notin, =, ==, !=, gt, lt", err);
    }
    lex(l);
    return parse_exact(l, values, err);
}

static int parse_requirement(struct lexer *l, struct kb_selector *s, struct kb_err *err)
{
    KB_AUTO(values_finish) struct values values = {0};
    bool negated = l->token == T_NOT, equality = false;
    enum kb_op op = negated ? KB_OP_DOES_NOT_EXIST : KB_OP_EXISTS;
    if (negated)
        lex(l);
    if (l->token != T_ID)
        return found(l, "identifier", err);
    kb_str key = l->text;
    int rc = check_key(key, err);
    if (rc < 0)
        return rc;
    lex(l);
    if (!negated && l->token != T_END && l->token != T_COMMA)
        rc = parse_operator(l, &op, &equality, &values, err);
    return rc < 0 ? rc : selector_add(s, key, op, equality, &values, err);
}

static int parse_all(struct lexer *l, struct kb_selector *s, struct kb_err *err)
{
    if (l->token == T_END)
        return 0;
    for (;;) {
        if (l->token != T_ID && l->token != T_NOT)
            return found(l, "!, identifier, or 'end of string'", err);
        if (parse_requirement(l, s, err) < 0)
            return kb_err_wrap(err, "unable to parse requirement");
        if (l->token == T_END)
            return 0;
        if (l->token != T_COMMA)
            return found(l, "',' or 'end of string'", err);
        lex(l);
        if (l->token != T_ID && l->token != T_NOT)
            return found(l, "identifier after ','", err);
    }
}

int kb_selector_parse(kb_str text, struct kb_selector **ret_selector, struct kb_err *err)
{
    struct kb_err local = {0};
    if (text.n > KB_SELECTOR_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "the selector is longer than %u bytes",
                          KB_SELECTOR_MAX_BYTES);
    KB_AUTO(kb_selector_destroy) struct kb_selector *s = selector_new();
    struct lexer l = {.p = text.n ? text.p : "", .end = text.n ? text.p + text.n : NULL};
    if (text.n == 0)
        l.end = l.p;
    lex(&l);
    int rc = parse_all(&l, s, err ? err : &local);
    if (rc < 0)
        return rc;
    *ret_selector = KB_STEAL(s);
    return 0;
}

/* ---- from objects ---- */

static int add_equal(struct kb_selector *s, kb_str key, kb_str value, bool check,
                     struct kb_err *err)
{
    KB_AUTO(values_finish) struct values values = {0};
    values_add(&values, value);
    int rc = check ? check_key(key, err) : 0;
    if (rc < 0)
        return rc;
    return selector_add(s, key, KB_OP_IN, true, &values, err);
}

static int add_expression(struct kb_selector *s, kb_val expression, struct kb_err *err)
{
    KB_AUTO(values_finish) struct values values = {0};
    kb_str name = kb_val_str(kb_val_get(expression, "operator"));
    kb_str key = kb_val_str(kb_val_get(expression, "key"));
    enum kb_op op = kb_op_of(name);
    for (struct kb_iter it = kb_iter(kb_val_get(expression, "values")); kb_iter_next(&it);)
        values_add(&values, kb_val_str(it.val));
    if (op == KB_OPS)
        return kb_err_set(err, KB_EINVAL, "\"%.*s\" is not a valid label selector operator",
                          name.n > 80 ? 80 : (int)name.n, name.p ? name.p : "");
    int rc = check_key(key, err);
    return rc < 0 ? rc : selector_add(s, key, op, false, &values, err);
}

int kb_selector_of(kb_val label_selector, struct kb_selector **ret_selector, struct kb_err *err)
{
    KB_AUTO(kb_selector_destroy) struct kb_selector *s = selector_new();
    int rc = 0;
    s->nothing = !kb_val_present(label_selector);
    kb_val labels = kb_val_get(label_selector, "matchLabels");
    for (struct kb_iter it = kb_iter(labels); rc == 0 && kb_iter_next(&it);)
        rc = add_equal(s, it.key, kb_val_str(it.val), true, err);
    kb_val expressions = kb_val_get(label_selector, "matchExpressions");
    for (struct kb_iter it = kb_iter(expressions); rc == 0 && kb_iter_next(&it);)
        rc = add_expression(s, it.val, err);
    if (rc == 0)
        *ret_selector = KB_STEAL(s);
    return rc;
}

struct kb_selector *kb_selector_of_map(kb_val labels)
{
    struct kb_selector *s = selector_new();
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);)
        if (add_equal(s, it.key, kb_val_str(it.val), false, NULL) < 0)
            s->nothing = true; /* no object can have a label like that */
    s->nothing |= s->count == 0;
    return s;
}

/* ---- matching ---- */

static bool req_match(const struct kb_requirement *req, bool has, kb_str value)
{
    int64_t number;
    bool among = false;
    switch (req->op) {
    case KB_OP_IN:
    case KB_OP_NOT_IN:
        for (uint32_t i = 0; has && !among && i < req->value_count; i++)
            among = kb_str_eq(value, req->values[i]);
        return kb_op_among(req->op, among);
    case KB_OP_EXISTS:
    case KB_OP_DOES_NOT_EXIST:
        return kb_op_there(req->op, has);
    default:
        return has && kb_str_i64(value, &number) && kb_op_beyond(req->op, number, req->bound);
    }
}

bool kb_selector_match(const struct kb_selector *selector, kb_val labels)
{
    if (selector->nothing)
        return false;
    for (uint32_t i = 0; i < selector->count; i++) {
        kb_val value = kb_val_getn(labels, selector->reqs[i].key);
        if (!req_match(&selector->reqs[i], value.p != NULL, kb_val_str(value)))
            return false;
    }
    return true;
}

bool kb_selector_match_node(const struct kb_selector *selector, const struct kb_node *labels)
{
    if (selector->nothing)
        return false;
    for (uint32_t i = 0; i < selector->count; i++) {
        const struct kb_node *value = kb_node_getn(labels, selector->reqs[i].key);
        if (!req_match(&selector->reqs[i], value != NULL, kb_node_text(value)))
            return false;
    }
    return true;
}

bool kb_selector_match_object(const struct kb_selector *selector, kb_val object)
{
    return kb_selector_match(selector, kb_val_at(object, "metadata.labels"));
}

bool kb_selector_is_nothing(const struct kb_selector *selector)
{
    return selector->nothing;
}

bool kb_selector_is_everything(const struct kb_selector *selector)
{
    return !selector->nothing && selector->count == 0;
}

static void req_format(const struct kb_requirement *req, struct kb_buf *out)
{
    if (req->op == KB_OP_DOES_NOT_EXIST)
        kb_buf_putc(out, '!');
    kb_buf_add_str(out, req->key);
    if (req->op == KB_OP_EXISTS || req->op == KB_OP_DOES_NOT_EXIST)
        return;
    if (req->op == KB_OP_GT || req->op == KB_OP_LT || req->equality) {
        kb_buf_puts(out, req->op == KB_OP_GT   ? ">"
                         : req->op == KB_OP_LT ? "<"
                         : req->op == KB_OP_IN ? "="
                                               : "!=");
        kb_buf_add_str(out, req->values[0]);
        return;
    }
    kb_buf_puts(out, req->op == KB_OP_IN ? " in (" : " notin (");
    bool lone_empty = req->value_count == 1 && req->values[0].n == 0; /* "()" would be no value */
    for (uint32_t i = 0; i < req->value_count; i++) {
        if (i || lone_empty)
            kb_buf_putc(out, ',');
        kb_buf_add_str(out, req->values[i]);
    }
    kb_buf_putc(out, ')');
}

void kb_selector_format(const struct kb_selector *selector, struct kb_buf *out)
{
    for (uint32_t i = 0; !selector->nothing && i < selector->count; i++) {
        if (i)
            kb_buf_putc(out, ',');
        req_format(&selector->reqs[i], out);
    }
}
