/* selector_field.c - field selectors: terms of path, operator and value. */
#include "bus/model/selector.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct kb_field_selector {
    struct kb_arena arena;
    struct kb_field_requirement *reqs;
    size_t count, cap;
};

void kb_field_selector_destroy(struct kb_field_selector **selector_p)
{
    struct kb_field_selector *s = KB_STEAL(*selector_p);
    if (s == NULL)
        return;
    kb_arena_finish(&s->arena);
    free(s->reqs);
    free(s);
}

/* Cut the text before the first comma that no backslash escapes. */
static kb_str cut_term(kb_str *rest)
{
    for (size_t i = 0; i < rest->n; i++) {
        if (rest->p[i] == '\\') {
            i++;
        } else if (rest->p[i] == ',') {
            kb_str term = kb_str_n(rest->p, i);
            *rest = kb_str_n(rest->p + i + 1, rest->n - i - 1);
            return term;
        }
    }
    kb_str term = *rest;
    *rest = kb_str_n(NULL, 0);
    return term;
}

static int unescape(struct kb_arena *a, kb_str value, kb_str *ret, struct kb_err *err)
{
    kb_str copy = kb_arena_str(a, value);
    char *to = (char *)copy.p;
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == ',' || c == '=')
            return kb_err_set(err, KB_EINVAL,
                              "invalid field selector: unescaped character in value: %c", c);
        if (c == '\\') {
            char next = i + 1 < value.n ? value.p[i + 1] : '\0';
            if (next != '\\' && next != ',' && next != '=')
                return kb_err_set(err, KB_EINVAL,
                                  "invalid field selector: invalid escape sequence: \\%.1s",
                                  next ? &value.p[i + 1] : "");
            c = next;
            i++;
        }
        *to++ = c;
    }
    *to = '\0';
    *ret = kb_str_n(copy.p, (size_t)(to - copy.p));
    return 0;
}

static int add_term(struct kb_field_selector *s, kb_str all, kb_str term, struct kb_err *err)
{
    size_t at = 0;
    while (at < term.n && term.p[at] != '=' &&
           !(term.p[at] == '!' && at + 1 < term.n && term.p[at + 1] == '='))
        at++;
    if (at >= term.n)
        return kb_err_set(err, KB_EINVAL, "invalid selector: '%.*s'; can't understand '%.*s'",
                          all.n > 120 ? 120 : (int)all.n, all.p, term.n > 120 ? 120 : (int)term.n,
                          term.p);
    bool equal = term.p[at] == '=';
    size_t width = !equal || (at + 1 < term.n && term.p[at + 1] == '=') ? 2 : 1;
    kb_str value;
    int rc = unescape(&s->arena, kb_str_n(term.p + at + width, term.n - at - width), &value, err);
    if (rc < 0)
        return rc;
    KB_GROW(s->reqs, s->count, s->cap, 4);
    s->reqs[s->count++] =
        (struct kb_field_requirement){kb_arena_str(&s->arena, kb_str_n(term.p, at)), value, equal};
    return 0;
}

int kb_field_selector_parse(kb_str text, struct kb_field_selector **ret_selector,
                            struct kb_err *err)
{
    if (text.n > KB_SELECTOR_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "the selector is longer than %u bytes",
                          KB_SELECTOR_MAX_BYTES);
    KB_AUTO(kb_field_selector_destroy) struct kb_field_selector *s = calloc(1, sizeof(*s));
    KB_ASSERT(s != NULL);
    for (kb_str rest = text; rest.p;) {
        kb_str term = cut_term(&rest);
        int rc = term.n ? add_term(s, text, term, err) : 0;
        if (rc < 0)
            return rc;
    }
    *ret_selector = KB_STEAL(s);
    return 0;
}

size_t kb_field_selector_requirements(const struct kb_field_selector *selector,
                                      const struct kb_field_requirement **ret)
{
    *ret = selector ? selector->reqs : NULL;
    return selector ? selector->count : 0;
}

/* The path of a requirement comes from a client: walked by plain member names. */
static kb_val field_at(kb_val object, kb_str path)
{
    while (path.p && object.p)
        object = kb_val_getn(object, kb_str_cut(&path, '.'));
    return object;
}

static bool field_equal(kb_val val, kb_str want)
{
    char text[32] = "";
    switch (kb_val_type(val)) {
    case KB_STR:
        return kb_str_eq(kb_val_str(val), want);
    case KB_BOOL:
        return kb_str_is(want, kb_val_bool(val, false) ? "true" : "false");
    case KB_INT:
        snprintf(text, sizeof(text), "%" PRId64, kb_val_int(val, 0));
        return kb_str_is(want, text);
    default:
        return want.n == 0 || kb_str_is(want, "false");
    }
}

bool kb_field_selector_match(const struct kb_field_selector *selector, kb_val object)
{
    for (size_t i = 0; selector && i < selector->count; i++) {
        const struct kb_field_requirement *req = &selector->reqs[i];
        if (field_equal(field_at(object, req->path), req->value) != req->equal)
            return false;
    }
    return true;
}
