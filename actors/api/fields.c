#include "actors/api/fields.h"

#include "bus/base/limits.h"

#include <stdio.h>
#include <stdlib.h>

static const struct kb_selectable *selectable_of(const struct kb_kind *kind, kb_str name)
{
    for (size_t i = 0; i < kind->nselectable; i++)
        if (kb_str_eq(kind->selectable[i].name, name))
            return &kind->selectable[i];
    return NULL;
}

static bool is_meta(kb_str path)
{
    return kb_str_is(path, "metadata.name") || kb_str_is(path, "metadata.namespace");
}

static int check_fields(struct kb_selection *s, struct kb_err *err)
{
    const struct kb_field_requirement *list;
    size_t n = kb_field_selector_requirements(s->fields, &list);
    for (size_t i = 0; i < n; i++) {
        if (!is_meta(list[i].path) && selectable_of(s->kind, list[i].path) == NULL)
            return kb_err_set(err, KB_EINVAL, "field label not supported: " KB_STR_FMT,
                              KB_STR_ARG(list[i].path));
        if (kb_str_is(list[i].path, "metadata.name") && list[i].equal)
            s->name = list[i].value;
    }
    return 0;
}

int kb_selection_parse(const struct kb_kind *kind, kb_str ns, kb_str label_text, kb_str field_text,
                       struct kb_selection *ret, struct kb_err *err)
{
    KB_AUTO(kb_selection_finish) struct kb_selection s = {.kind = kind, .ns = ns};
    int rc = 0;
    if (label_text.n > KB_SELECTOR_MAX_BYTES || field_text.n > KB_SELECTOR_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "the selector is too long");
    if (label_text.n && (rc = kb_selector_parse(label_text, &s.labels, err)) < 0)
        return rc;
    if (field_text.n && (rc = kb_field_selector_parse(field_text, &s.fields, err)) < 0)
        return rc;
    if (s.fields && (rc = check_fields(&s, err)) < 0)
        return rc;
    *ret = s;
    s.labels = NULL;
    s.fields = NULL;
    return 0;
}

void kb_selection_finish(struct kb_selection *selection)
{
    kb_selector_destroy(&selection->labels);
    kb_field_selector_destroy(&selection->fields);
}

/* A path of our own data as a C string; kinds' paths are short. */
static kb_val value_at(kb_val object, kb_str path)
{
    char text[KB_PATH_MAX_BYTES];
    return kb_str_copy(path, text, sizeof(text)) ? kb_val_at(object, text) : (kb_val){0};
}

/* What is absent is "", and false when it is compared with a boolean. */
static bool field_matches(const struct kb_selection *s, const struct kb_field_requirement *want,
                          kb_val object)
{
    char scratch[KB_VAL_TEXT_BYTES];
    const struct kb_selectable *field = selectable_of(s->kind, want->path);
    kb_str have = kb_val_text(value_at(object, field ? field->path : want->path), scratch);
    if (have.n == 0 && field && field->otherwise.n > 0)
        have = kb_val_text(value_at(object, field->otherwise), scratch);
    bool boolean = kb_str_is(want->value, "true") || kb_str_is(want->value, "false");
    if (have.n == 0 && boolean)
        have = kb_str_of("false");
    return kb_str_eq(have, want->value) == want->equal;
}

bool kb_selection_match(const struct kb_selection *s, kb_val object)
{
    if (object.p == NULL || (s->labels && !kb_selector_match_object(s->labels, object)))
        return false;
    const struct kb_field_requirement *list = NULL;
    size_t n = s->fields ? kb_field_selector_requirements(s->fields, &list) : 0;
    for (size_t i = 0; i < n; i++)
        if (!field_matches(s, &list[i], object))
            return false;
    return true;
}

bool kb_selection_is_filtered(const struct kb_selection *s)
{
    return s->labels != NULL || s->fields != NULL;
}

static void escape(kb_str s, struct kb_buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~/", c));
        if (plain)
            kb_buf_putc(out, (char)c);
        else
            kb_buf_printf(out, "%%%02X", c);
    }
}

struct view_key {
    char key[64];
    kb_str value;
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct view_key *)a)->key, ((const struct view_key *)b)->key);
}

/* The index over the field's path, when a requirement is an equality on it. */
static const struct kb_kind_index *index_for(const struct kb_selection *s,
                                             const struct kb_field_requirement *want)
{
    const struct kb_selectable *field = selectable_of(s->kind, want->path);
    if (!want->equal || want->value.n == 0 || field == NULL || field->otherwise.n > 0)
        return NULL;
    for (size_t i = 0; i < s->kind->nindices; i++)
        if (!s->kind->indices[i].controller && kb_str_eq(s->kind->indices[i].path, field->path))
            return &s->kind->indices[i];
    return NULL;
}

void kb_selection_view(const struct kb_selection *s, struct kb_buf *out, bool *ret_exact)
{
    enum { KEYS_MAX = 4 };
    struct view_key keys[KEYS_MAX];
    KB_AUTO(kb_buf_finish) struct kb_buf labels = {0};
    const struct kb_field_requirement *list = NULL;
    size_t n = s->fields ? kb_field_selector_requirements(s->fields, &list) : 0, at = 0,
           covered = 0;
    if (s->ns.n)
        keys[at++] = (struct view_key){"ns", s->ns};
    if (s->name.n) {
        keys[at++] = (struct view_key){"name", s->name};
        covered = n == 1;
    }
    if (s->labels)
        kb_selector_format(s->labels, &labels);
    bool fits = labels.n <= KB_VIEW_MAX_BYTES / 4; /* escaped it may be three times as long */
    if (s->labels && fits) {
        keys[at++] = (struct view_key){"labels", kb_buf_str(&labels)};
    }
    for (size_t i = 0; i < n && at < KEYS_MAX; i++) {
        const struct kb_kind_index *index = index_for(s, &list[i]);
        if (index == NULL || !kb_str_copy(index->name, keys[at].key, sizeof(keys[at].key)))
            continue;
        keys[at++].value = list[i].value;
        covered += n == 1;
        break;
    }
    qsort(keys, at, sizeof(keys[0]), compare_keys);
    kb_buf_add_str(out, s->kind->resource);
    for (size_t i = 0; i < at; i++) {
        kb_buf_printf(out, "%c%s=", i ? '&' : '?', keys[i].key);
        escape(keys[i].value, out);
    }
    *ret_exact = covered == n && fits;
}
