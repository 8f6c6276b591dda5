/* yaml_write.c - YAML as kubectl prints it: libyaml's emitter with the choices of style that
 * Kubernetes' library makes. Text with a line break is a literal block, text that reads back as
 * something else is in double quotes, all other is as plain as the emitter allows. */
#include "bus/model/yaml.h"

#include "bus/base/check.h"
#include "bus/model/yaml_scalar.h"

#include <ctype.h>
#include <stdlib.h>
#include <yaml.h>

static int on_write(void *data, unsigned char *bytes, size_t n)
{
    kb_buf_add(data, bytes, n);
    return 1;
}

static void emit(yaml_emitter_t *e, yaml_event_t *event)
{
    KB_ASSERT(yaml_emitter_emit(e, event));
}

static void emit_text(yaml_emitter_t *e, kb_str s, yaml_scalar_style_t style)
{
    yaml_event_t event;
    const yaml_char_t *p = (const yaml_char_t *)(s.n ? s.p : "");
    KB_ASSERT(yaml_scalar_event_initialize(&event, NULL, NULL, p, (int)s.n, 1, 1, style));
    emit(e, &event);
}

static void emit_str(yaml_emitter_t *e, kb_str s)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    if (kb_str_has(s, '\n'))
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (kb__scalar_needs_quotes(kb_str_n(s.n ? s.p : "", s.n)))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    emit_text(e, s, style);
}

static bool is_letter(unsigned char c)
{
    return isalpha(c) || c >= 0x80;
}

/* The run of digits at *p as a number (bounded), and *p behind it. */
static uint64_t digits_value(kb_str s, size_t *at)
{
    uint64_t value = 0;
    for (; *at < s.n && isdigit((unsigned char)s.p[*at]); ++*at)
        value = value > UINT64_MAX / 20 ? value : value * 10 + (uint64_t)(s.p[*at] - '0');
    return value;
}

/* Natural order: numbers in keys by their value, letters behind all other characters. */
static int natural_order(const void *x, const void *y)
{
    kb_str a = ((const struct kb_member *)x)->key, b = ((const struct kb_member *)y)->key;
    size_t i = 0;
    while (i < a.n && i < b.n && a.p[i] == b.p[i])
        i++;
    if (i == a.n || i == b.n)
        return a.n < b.n ? -1 : a.n > b.n;
    unsigned char c = (unsigned char)a.p[i], d = (unsigned char)b.p[i];
    if (is_letter(c) || is_letter(d))
        return is_letter(c) && is_letter(d) ? (c < d ? -1 : 1) : is_letter(d) ? -1 : 1;
    size_t from = i;
    while (from > 0 && isdigit((unsigned char)a.p[from - 1]))
        from--;
    if (isdigit(c) || isdigit(d)) {
        size_t at_a = from, at_b = from;
        uint64_t value_a = digits_value(a, &at_a), value_b = digits_value(b, &at_b);
        if (isdigit(c) && isdigit(d) && value_a != value_b)
            return value_a < value_b ? -1 : 1;
        if (at_a != at_b && from < i)
            return at_a < at_b ? -1 : 1;
    }
    return c < d ? -1 : 1;
}

static void emit_node(yaml_emitter_t *e, const struct kb_node *node);

static void emit_map(yaml_emitter_t *e, const struct kb_node *node)
{
    yaml_event_t event;
    KB_ASSERT(yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    emit(e, &event);
    if (node->count) {
        KB_AUTO(kb_auto_free) struct kb_member *sorted = malloc(node->count * sizeof(*sorted));
        KB_ASSERT(sorted != NULL);
        memcpy(sorted, node->items, node->count * sizeof(*sorted));
        qsort(sorted, node->count, sizeof(*sorted), natural_order);
        for (uint32_t i = 0; i < node->count; i++) {
            emit_str(e, sorted[i].key);
            emit_node(e, sorted[i].val);
        }
    }
    KB_ASSERT(yaml_mapping_end_event_initialize(&event));
    emit(e, &event);
}

static void emit_array(yaml_emitter_t *e, const struct kb_node *node)
{
    yaml_event_t event;
    KB_ASSERT(
        yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
    emit(e, &event);
    for (uint32_t i = 0; i < node->count; i++)
        emit_node(e, node->items[i].val);
    KB_ASSERT(yaml_sequence_end_event_initialize(&event));
    emit(e, &event);
}

/* Recursion is bounded by the depth of trees. */
static void emit_node(yaml_emitter_t *e, const struct kb_node *node)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    switch (node ? node->type : KB_NIL) {
    case KB_MAP:
        emit_map(e, node);
        return;
    case KB_ARRAY:
        emit_array(e, node);
        return;
    case KB_STR:
        emit_str(e, node->s);
        return;
    default:
        kb_json_write_node(&text, node, 0);
        emit_text(e, kb_buf_str(&text), YAML_PLAIN_SCALAR_STYLE);
    }
}

void kb_yaml_write_node(struct kb_buf *out, const struct kb_node *node)
{
    yaml_emitter_t e;
    yaml_event_t event;
    KB_ASSERT(yaml_emitter_initialize(&e));
    yaml_emitter_set_output(&e, on_write, out);
    yaml_emitter_set_unicode(&e, 1);
    KB_ASSERT(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&e, &event);
    KB_ASSERT(yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit(&e, &event);
    emit_node(&e, node);
    KB_ASSERT(yaml_document_end_event_initialize(&event, 1));
    emit(&e, &event);
    KB_ASSERT(yaml_stream_end_event_initialize(&event));
    emit(&e, &event);
    yaml_emitter_delete(&e);
}

void kb_yaml_write(struct kb_buf *out, kb_val val)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    kb_yaml_write_node(out, kb_node_of(&a, val));
}
