#include "bus/model/causes.h"

#include <stdarg.h>
#include <stdio.h>

void kb_at_write(const struct kb_at *at, struct kb_buf *out)
{
    if (at == NULL)
        return;
    kb_at_write(at->up, out);
    switch (at->how) {
    case KB_AT_INDEX:
        kb_buf_printf(out, "[%zu]", at->index);
        return;
    case KB_AT_KEY:
        kb_buf_printf(out, "[" KB_STR_FMT "]", KB_STR_ARG(at->name));
        return;
    default:
        if (out->n)
            kb_buf_putc(out, '.');
        kb_buf_add_str(out, at->name);
    }
}

static const struct {
    const char *reason, *text;
} cause_types[] = {
#define X(type, reason, text) [KB_CAUSE_##type] = {reason, text},
    KB_CAUSE_MAP(X)
#undef X
};

const char *kb_cause_reason(enum kb_cause_type type)
{
    return cause_types[type].reason;
}

/* As Go's %q. */
static void write_quoted(struct kb_buf *out, kb_str s)
{
    kb_buf_putc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            kb_buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            kb_buf_printf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 0x20 || c == 0x7f)
            kb_buf_printf(out, "\\x%02x", c);
        else
            kb_buf_putc(out, (char)c);
    }
    kb_buf_putc(out, '"');
}

/* ---- values as Go prints them ---- */

static void write_go_strings(const struct kb_node *list, struct kb_buf *out)
{
    kb_buf_puts(out, "[]string{");
    for (uint32_t i = 0; i < list->count; i++) {
        kb_buf_puts(out, i ? ", " : "");
        write_quoted(out, kb_node_text(list->items[i].val));
    }
    kb_buf_putc(out, '}');
}

/* The number of the member with the smallest key above `*after` (NULL: of all); `count` for none.
 */
static uint32_t next_key(const struct kb_node *map, const kb_str *after)
{
    uint32_t best = map->count;
    for (uint32_t i = 0; i < map->count; i++) {
        bool above = after == NULL || kb_str_cmp(map->items[i].key, *after) > 0;
        if (above &&
            (best == map->count || kb_str_cmp(map->items[i].key, map->items[best].key) < 0))
            best = i;
    }
    return best;
}

void kb_go_labels(const struct kb_node *map, struct kb_buf *out)
{
    enum { SHOWN = 64 }; /* for a message is for reading, and this is quadratic */
    if (map == NULL || map->type != KB_MAP) {
        kb_buf_puts(out, "map[string]string(nil)");
        return;
    }
    const kb_str *last = NULL;
    kb_buf_puts(out, "map[string]string{");
    for (uint32_t n = 0; n < SHOWN; n++) {
        uint32_t at = next_key(map, last);
        if (at == map->count)
            break;
        const struct kb_member *member = &map->items[at];
        kb_buf_puts(out, n ? ", " : "");
        write_quoted(out, member->key);
        kb_buf_putc(out, ':');
        write_quoted(out, kb_node_text(member->val));
        last = &member->key;
    }
    kb_buf_puts(out, map->count > SHOWN ? "…}" : "}");
}

void kb_go_selector(const struct kb_node *selector, struct kb_buf *out)
{
    const struct kb_node *list = kb_node_get(selector, "matchExpressions");
    kb_buf_puts(out, "v1.LabelSelector{MatchLabels:");
    kb_go_labels(kb_node_get(selector, "matchLabels"), out);
    kb_buf_puts(out, ", MatchExpressions:[]v1.LabelSelectorRequirement");
    if (list == NULL || list->type != KB_ARRAY) {
        kb_buf_puts(out, "(nil)}");
        return;
    }
    kb_buf_putc(out, '{');
    for (uint32_t i = 0; i < list->count; i++) {
        const struct kb_node *one = list->items[i].val, *values = kb_node_get(one, "values");
        kb_buf_puts(out,
                    i ? ", v1.LabelSelectorRequirement{Key:" : "v1.LabelSelectorRequirement{Key:");
        write_quoted(out, kb_node_text(kb_node_get(one, "key")));
        kb_buf_puts(out, ", Operator:");
        write_quoted(out, kb_node_text(kb_node_get(one, "operator")));
        kb_buf_puts(out, ", Values:");
        if (values != NULL && values->type == KB_ARRAY)
            write_go_strings(values, out);
        else
            kb_buf_puts(out, "[]string(nil)");
        kb_buf_putc(out, '}');
    }
    kb_buf_puts(out, "}}");
}

static bool is_strings(const struct kb_node *node)
{
    enum { SHOWN = 64 };
    bool all = node->type == KB_ARRAY && node->count > 0 && node->count <= SHOWN;
    for (uint32_t i = 0; all && i < node->count; i++)
        all = node->items[i].val->type == KB_STR;
    return all;
}

/* Containers are cut: a message is for reading. */
static void write_bad(struct kb_buf *out, const struct kb_node *node, int depth)
{
    enum { LONGEST = 1024 };
    if (node == NULL || node->type == KB_NIL)
        kb_buf_puts(out, "null");
    else if (node->type == KB_BOOL)
        kb_buf_puts(out, node->b ? "true" : "false");
    else if (node->type == KB_INT)
        kb_buf_printf(out, "%lld", (long long)node->i);
    else if (node->type == KB_DOUBLE)
        kb_buf_printf(out, "%g", node->d);
    else if (node->type == KB_STR)
        write_quoted(out, node->s);
    else if (depth > 8 || out->n > LONGEST)
        kb_buf_puts(out, "…");
    else if (is_strings(node))
        write_go_strings(node, out);
    else {
        bool map = node->type == KB_MAP;
        kb_buf_putc(out, map ? '{' : '[');
        for (uint32_t i = 0; i < node->count; i++) {
            kb_buf_puts(out, i ? "," : "");
            if (map) {
                write_quoted(out, node->items[i].key);
                kb_buf_putc(out, ':');
            }
            write_bad(out, node->items[i].val, depth + 1);
        }
        kb_buf_putc(out, map ? '}' : ']');
    }
}

static bool shows_value(enum kb_cause_type type)
{
    return type != KB_CAUSE_REQUIRED && type != KB_CAUSE_FORBIDDEN && type != KB_CAUSE_TOO_LONG &&
           type != KB_CAUSE_INTERNAL;
}

static void add(struct kb_causes *causes, enum kb_cause_type type, const struct kb_at *at,
                kb_str value, const char *detail, va_list args)
{
    KB_AUTO(kb_buf_finish) struct kb_buf field = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf message = {0};
    if (causes->count >= KB_CAUSES_MAX) {
        causes->left_out++;
        return;
    }
    kb_at_write(at, &field);
    kb_buf_puts(&message, cause_types[type].text);
    if (value.n && shows_value(type)) {
        kb_buf_puts(&message, ": ");
        kb_buf_add_str(&message, value);
    }
    if (detail && detail[0]) {
        char text[2048];
        vsnprintf(text, sizeof(text), detail, args);
        if (text[0]) {
            kb_buf_puts(&message, ": ");
            kb_buf_puts(&message, text);
        }
    }
    KB_ARENA_GROW(causes->arena, causes->items, causes->count, causes->cap, 8);
    causes->items[causes->count++] =
        (struct kb_cause){type, kb_arena_str(causes->arena, kb_buf_str(&field)),
                          kb_arena_str(causes->arena, kb_buf_str(&message))};
}

void kb_causes_add(struct kb_causes *causes, enum kb_cause_type type, const struct kb_at *at,
                   const struct kb_node *bad, const char *detail, ...)
{
    KB_AUTO(kb_buf_finish) struct kb_buf value = {0};
    va_list args;
    if (bad && shows_value(type) && causes->count < KB_CAUSES_MAX)
        write_bad(&value, bad, 0);
    va_start(args, detail);
    add(causes, type, at, kb_buf_str(&value), detail, args);
    va_end(args);
}

void kb_causes_add_str(struct kb_causes *causes, enum kb_cause_type type, const struct kb_at *at,
                       kb_str bad, const char *detail, ...)
{
    KB_AUTO(kb_buf_finish) struct kb_buf value = {0};
    va_list args;
    write_quoted(&value, bad);
    va_start(args, detail);
    add(causes, type, at, kb_buf_str(&value), detail, args);
    va_end(args);
}

void kb_causes_add_go(struct kb_causes *causes, enum kb_cause_type type, const struct kb_at *at,
                      kb_str value, const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    add(causes, type, at, value, detail, args);
    va_end(args);
}

void kb_causes_text(const struct kb_causes *causes, struct kb_buf *out)
{
    bool several = causes->count > 1;
    if (several)
        kb_buf_putc(out, '[');
    for (size_t i = 0; i < causes->count; i++) {
        const struct kb_cause *cause = &causes->items[i];
        if (i)
            kb_buf_puts(out, ", ");
        if (cause->field.n)
            kb_buf_printf(out, KB_STR_FMT ": ", KB_STR_ARG(cause->field));
        else
            kb_buf_puts(out, "<nil>: ");
        kb_buf_add_str(out, cause->message);
    }
    if (several)
        kb_buf_putc(out, ']');
}
