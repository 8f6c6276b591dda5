/* Decoding: a tree becomes an object of its schema, or is refused.
 *
 * One walk does what Kubernetes' decoder does with a Go type in hand: unknown fields are dropped
 * and noted, null is absence, and a value of the wrong type ends it with the text that kubectl's
 * users know. Times and quantities get their canonical text here, so that equal objects are equal
 * bytes. For a user-defined kind Kubernetes has no Go type: there a wrong type is a cause among
 * others, found by validation, and null survives where the schema says nullable. */
#include "bus/model/schema_impl.h"

#include "bus/base/base64.h"

#include <stdio.h>

struct decode {
    struct kb_arena *arena;
    struct kb_unknowns *unknowns;
    struct kb_err *err;
};

/* A frame of the walk: the place, and the object around it. */
struct frame {
    const struct frame *up;
    const struct kb_schema *object;
    struct kb_at at;
};

static int decode(struct decode *d, const struct kb_schema *s, struct kb_node *node,
                  const struct frame *frame);

/* Places of unknown fields write keys of maps as members ("metadata.labels.x"), unlike causes. */
static void note_unknown(struct decode *d, const struct frame *frame)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    struct kb_unknowns *u = d->unknowns;
    if (u == NULL || u->count >= KB_CAUSES_MAX)
        return;
    KB_ARENA_GROW(u->arena, u->paths, u->count, u->cap, 8);
    kb_at_write(&frame->at, &path);
    u->paths[u->count++] = kb_arena_str(u->arena, kb_buf_str(&path));
}

/* ---- what Go would say ---- */

static void go_type(const struct kb_schema *s, struct kb_buf *out)
{
    switch (s->type) {
    case KB__STRING:
        kb_buf_puts(out, kb__format_is_bytes(s->format)  ? "[]uint8"
                         : kb__format_is_time(s->format) ? "v1.Time"
                                                         : "string");
        return;
    case KB__INTEGER:
        kb_buf_puts(out, s->int32 ? "int32" : "int64");
        return;
    case KB__NUMBER:
        kb_buf_puts(out, "float64");
        return;
    case KB__BOOLEAN:
        kb_buf_puts(out, "bool");
        return;
    case KB__LIST:
        kb_buf_puts(out, "[]");
        if (s->items)
            go_type(s->items, out);
        return;
    case KB__INT_OR_STRING:
        kb_buf_puts(out,
                    kb__format_is_quantity(s->format) ? "resource.Quantity" : "intstr.IntOrString");
        return;
    default:
        if (s->name.n) {
            kb_buf_puts(out, "v1.");
            kb_buf_add_str(out, s->name);
        } else {
            kb_buf_puts(out, "map[string]");
            if (s->additional)
                go_type(s->additional, out);
        }
    }
}

static void go_path(const struct frame *frame, struct kb_buf *out)
{
    if (frame == NULL)
        return;
    go_path(frame->up, out);
    if (frame->at.how == KB_AT_INDEX)
        return;
    if (out->n)
        kb_buf_putc(out, '.');
    kb_buf_add_str(out, frame->at.name);
}

static const char *json_type(const struct kb_node *node)
{
    switch (node->type) {
    case KB_BOOL:
        return "bool";
    case KB_INT:
    case KB_DOUBLE:
        return "number";
    case KB_STR:
        return "string";
    case KB_ARRAY:
        return "array";
    case KB_MAP:
        return "object";
    default:
        return "null";
    }
}

static int wrong_type(struct decode *d, const struct kb_schema *s, const struct kb_node *node,
                      const struct frame *frame)
{
    KB_AUTO(kb_buf_finish) struct kb_buf type = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    kb_str owner = {0};
    for (const struct frame *f = frame; f && owner.n == 0; f = f->up)
        owner = kb_schema_name(f->object);
    go_type(s, &type);
    go_path(frame, &path);
    char value[48] = "";
    if (node->type == KB_INT)
        snprintf(value, sizeof(value), " %lld", (long long)node->i);
    else if (node->type == KB_DOUBLE)
        snprintf(value, sizeof(value), " %g", node->d);
    if (frame == NULL)
        return kb_err_set(d->err, KB_EINVAL, "json: cannot unmarshal %s into Go value of type %s",
                          json_type(node), type.p);
    return kb_err_set(d->err, KB_EINVAL,
                      "json: cannot unmarshal %s%s into Go struct field " KB_STR_FMT
                      ".%s of type %s",
                      json_type(node), value, KB_STR_ARG(owner), path.n ? path.p : "", type.p);
}

/* ---- scalars ---- */

static int decode_number(struct decode *d, const struct kb_schema *s, struct kb_node *node,
                         const struct frame *frame)
{
    if (node->type == KB_DOUBLE && s->type == KB__INTEGER) {
        int64_t i = kb_node_num(node, INT64_MIN);
        if (i == INT64_MIN)
            return s->custom ? 0 : wrong_type(d, s, node, frame);
        node->type = KB_INT;
        node->i = i;
    }
    bool fits = node->type == KB_INT || (node->type == KB_DOUBLE && s->type == KB__NUMBER);
    if (fits && s->int32 && (node->i < INT32_MIN || node->i > INT32_MAX))
        fits = false;
    return fits || s->custom ? 0 : wrong_type(d, s, node, frame);
}

static int decode_text(struct decode *d, const struct kb_schema *s, struct kb_node *node,
                       const struct frame *frame)
{
    if (node->type != KB_STR)
        return s->custom ? 0 : wrong_type(d, s, node, frame);
    if (s->format == 0 || node->s.n == 0 || s->custom)
        return 0;
    if (kb__format_canonical(s->format, d->arena, &node->s) < 0)
        return kb__format_is_time(s->format)
                   ? kb_err_set(d->err, KB_EINVAL,
                                "parsing time \"" KB_STR_FMT
                                "\" as \"2006-01-02T15:04:05Z07:00\": cannot parse it",
                                KB_STR_ARG(node->s))
                   : kb_err_set(d->err, KB_EINVAL, "illegal base64 data at input byte %zu",
                                kb_base64_bad_at(node->s));
    return 0;
}

static int decode_quantity(struct decode *d, const struct kb_schema *s, struct kb_node *node)
{
    char text[40];
    kb_str value = node->s;
    if (node->type == KB_INT)
        value = kb_str_n(text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)node->i));
    else if (node->type == KB_DOUBLE)
        value = kb_str_n(text, (size_t)snprintf(text, sizeof(text), "%.9g", node->d));
    if (kb__format_canonical(s->format, d->arena, &value) < 0)
        return kb_err_set(d->err, KB_EINVAL,
                          "quantities must match the regular expression "
                          "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    node->type = KB_STR;
    node->s = value.p == text ? kb_arena_str(d->arena, value) : value;
    return 0;
}

static int decode_int_or_string(struct decode *d, const struct kb_schema *s, struct kb_node *node,
                                const struct frame *frame)
{
    if (s->custom)
        return 0;
    if (kb__format_is_quantity(s->format) &&
        (node->type == KB_STR || node->type == KB_INT || node->type == KB_DOUBLE))
        return decode_quantity(d, s, node);
    if (node->type == KB_STR)
        return 0;
    int64_t i = kb_node_num(node, INT64_MIN);
    if (i < INT32_MIN || i > INT32_MAX)
        return wrong_type(d, s, node, frame);
    node->type = KB_INT;
    node->i = i;
    return 0;
}

/* ---- containers ---- */

/* Go's types leave out lists and maps without members (`omitempty`); what has a default says with
 * an empty one that it is not wanted. */
static bool is_left_out(const struct kb_schema *s, const struct kb_node *node)
{
    if (s->custom || s->dflt)
        return false;
    bool map = node->type == KB_MAP && s->nprops == 0 && s->additional != NULL;
    return (map || node->type == KB_ARRAY) && node->count == 0;
}

static int decode_member(struct decode *d, const struct kb_schema *s, struct kb_member *member,
                         const struct frame *up, bool *ret_keep)
{
    uint16_t prop = kb__prop_find(s, member->key);
    const struct kb_schema *schema = prop != KB__NO_PROP ? s->props[prop].schema : s->additional;
    struct frame frame = {up, s, kb_at_name(up ? &up->at : NULL, member->key)};
    *ret_keep = true;
    if (schema == NULL) {
        *ret_keep = s->preserve;
        if (!s->preserve)
            note_unknown(d, &frame);
        return 0;
    }
    if (member->val->type == KB_NIL) {
        *ret_keep = schema->custom && (schema->nullable || !schema->dflt);
        if (prop == KB__NO_PROP && !schema->custom && schema->type == KB__STRING) {
            *ret_keep = true; /* a null in a map of strings is an empty string */
            member->val->type = KB_STR;
            member->val->s = (kb_str){0};
        }
        return 0;
    }
    if (decode(d, schema, member->val, &frame) < 0)
        return -KB_EINVAL;
    *ret_keep = !is_left_out(schema, member->val);
    return 0;
}

static int decode_object(struct decode *d, const struct kb_schema *s, struct kb_node *map,
                         const struct frame *up)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        bool keep;
        if (decode_member(d, s, &map->items[i], up, &keep) < 0)
            return -KB_EINVAL;
        if (keep)
            map->items[kept++] = map->items[i];
    }
    map->count = kept;
    return 0;
}

static int decode_list(struct decode *d, const struct kb_schema *s, struct kb_node *list,
                       const struct frame *up)
{
    if (s->items == NULL)
        return 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct kb_node *item = list->items[i].val;
        struct frame frame = {up, NULL, kb_at_index(up ? &up->at : NULL, i)};
        if (item->type == KB_NIL && !s->custom) { /* Go reads null as the zero value */
            if (s->items->type == KB__OBJECT)
                *item = (struct kb_node){.type = KB_MAP};
            else if (s->items->type == KB__STRING)
                *item = (struct kb_node){.type = KB_STR};
        }
        if (item->type != KB_NIL && decode(d, s->items, item, &frame) < 0)
            return -KB_EINVAL;
    }
    return 0;
}

static int decode(struct decode *d, const struct kb_schema *s, struct kb_node *node,
                  const struct frame *frame)
{
    switch (s->type) {
    case KB__OBJECT:
        if (node->type == KB_MAP)
            return decode_object(d, s, node, frame);
        break;
    case KB__LIST:
        if (node->type == KB_ARRAY)
            return decode_list(d, s, node, frame);
        break;
    case KB__STRING:
        return decode_text(d, s, node, frame);
    case KB__INTEGER:
    case KB__NUMBER:
        return decode_number(d, s, node, frame);
    case KB__BOOLEAN:
        if (node->type == KB_BOOL)
            return 0;
        break;
    case KB__INT_OR_STRING:
        return decode_int_or_string(d, s, node, frame);
    default:
        return 0;
    }
    return s->custom ? 0 : wrong_type(d, s, node, frame);
}

int kb_schema_decode(const struct kb_schema *schema, struct kb_arena *arena, struct kb_node *node,
                     struct kb_unknowns *unknowns, struct kb_err *err)
{
    struct decode d = {arena, unknowns, err};
    return decode(&d, schema, node, NULL);
}
