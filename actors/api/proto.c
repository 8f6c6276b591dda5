/* proto.c - protobuf into a tree, by a table of field numbers.
 *
 * The encoding is that of Go's structs, so what a struct cannot leave out is there though it is
 * empty: "" is dropped, which means the same everywhere, and zeros where the table says so. A few
 * messages stand for a single JSON value (times, quantities, numbers or texts, raw JSON). */
#include "actors/api/proto.h"

#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/base/grow.h"
#include "bus/base/limits.h"
#include "bus/base/map.h"
#include "bus/model/json.h"

#include <stdlib.h>

extern const char kb_proto_messages[], kb_proto_messages_end[];

enum type { T_STRING, T_BYTES, T_BOOL, T_INT, T_DOUBLE, T_MESSAGE };

struct message;

struct field {
    uint32_t number;
    kb_str name;
    enum type type;
    bool list, map, in_place, zero_is_absent;
    struct message *message;
};

/* Messages that are one value in JSON. */
enum special { PLAIN, TIME, MICRO_TIME, QUANTITY, INT_OR_STRING, RAW };

struct message {
    enum special special;
    struct field *fields;
    size_t count, cap;
};

struct kb_proto {
    struct kb_map messages; /* by name */
};

/* ---- the table ---- */

static struct message *message_of(struct kb_proto *proto, kb_str name)
{
    static const struct {
        const char *name;
        enum special special;
    } specials[] = {{"meta.Time", TIME},
                    {"meta.MicroTime", MICRO_TIME},
                    {"resource.Quantity", QUANTITY},
                    {"intstr.IntOrString", INT_OR_STRING},
                    {"runtime.RawExtension", RAW},
                    {"meta.FieldsV1", RAW}};
    struct message *message = kb_map_get(&proto->messages, name);
    if (message)
        return message;
    message = calloc(1, sizeof(*message));
    KB_ASSERT(message != NULL);
    for (size_t i = 0; i < KB_COUNT(specials); i++)
        if (kb_str_is(name, specials[i].name))
            message->special = specials[i].special;
    kb_map_put(&proto->messages, name, message);
    return message;
}

static bool take_prefix(kb_str *text, const char *prefix)
{
    if (!kb_str_starts(*text, prefix))
        return false;
    text->p += strlen(prefix);
    text->n -= strlen(prefix);
    return true;
}

static struct field parse_field(struct kb_proto *proto, kb_str line)
{
    static const char *const scalars[] = {"string", "bytes", "bool", "int", "double"};
    struct field field = {0};
    uint64_t number = 0;
    kb_str_u64(kb_str_cut(&line, ' '), &number);
    field.number = (uint32_t)number;
    field.name = kb_str_cut(&line, ' ');
    field.in_place = take_prefix(&line, "inline ");
    field.list = take_prefix(&line, "[]");
    field.map = take_prefix(&line, "map[]");
    if (kb_str_ends(line, "?")) {
        field.zero_is_absent = true;
        line.n--;
    }
    field.type = T_MESSAGE;
    for (size_t i = 0; i < KB_COUNT(scalars); i++)
        if (kb_str_is(line, scalars[i]))
            field.type = (enum type)i;
    if (field.type == T_MESSAGE)
        field.message = message_of(proto, line);
    return field;
}

struct kb_proto *kb_proto_new(void)
{
    struct kb_proto *proto = calloc(1, sizeof(*proto));
    struct message *message = NULL;
    KB_ASSERT(proto != NULL);
    kb_str rest = kb_str_n(kb_proto_messages, (size_t)(kb_proto_messages_end - kb_proto_messages));
    while (rest.p) {
        kb_str line = kb_str_cut(&rest, '\n');
        if (line.n == 0)
            continue;
        if (line.p[0] != ' ') {
            message = message_of(proto, line);
            continue;
        }
        KB_ASSERT(message != NULL);
        KB_GROW(message->fields, message->count, message->cap, 8);
        message->fields[message->count++] = parse_field(proto, kb_str_trim(line));
    }
    return proto;
}

void kb_proto_destroy(struct kb_proto **proto_p)
{
    struct kb_proto *proto = KB_STEAL(*proto_p);
    kb_str name;
    void *value;
    if (proto == NULL)
        return;
    for (size_t i = 0; kb_map_next(&proto->messages, &i, &name, &value);) {
        free(((struct message *)value)->fields);
        free(value);
    }
    kb_map_finish(&proto->messages);
    free(proto);
}

/* ---- the wire ---- */

struct record {
    uint32_t number;
    unsigned wire;
    uint64_t value; /* varint, fixed64, fixed32 */
    kb_str bytes;   /* length-delimited */
};

struct reader {
    struct kb_arena *a;
    struct kb_err *err;
};

static bool take_varint(kb_str *data, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && data->n > 0; shift += 7) {
        unsigned char byte = (unsigned char)*data->p;
        data->p++, data->n--;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_fixed(kb_str *data, size_t n, uint64_t *ret)
{
    *ret = 0;
    if (data->n < n)
        return false;
    for (size_t i = 0; i < n; i++)
        *ret |= (uint64_t)(unsigned char)data->p[i] << (8 * i);
    data->p += n, data->n -= n;
    return true;
}

/* 1: a record, 0: the end, negative: malformed. */
static int next_record(struct reader *r, kb_str *data, struct record *ret)
{
    uint64_t key = 0, n = 0;
    if (data->n == 0)
        return 0;
    bool ok = take_varint(data, &key);
    *ret = (struct record){.number = (uint32_t)(key >> 3), .wire = key & 7};
    if (ok && ret->wire == 0) {
        ok = take_varint(data, &ret->value);
    } else if (ok && ret->wire == 1) {
        ok = take_fixed(data, 8, &ret->value);
    } else if (ok && ret->wire == 5) {
        ok = take_fixed(data, 4, &ret->value);
    } else if (ok && ret->wire == 2 && take_varint(data, &n) && n <= data->n) {
        ret->bytes = kb_str_n(data->p, (size_t)n);
        data->p += n, data->n -= (size_t)n;
    } else {
        ok = false;
    }
    return ok ? 1 : kb_err_set(r->err, KB_EINVAL, "the body is not well-formed protobuf");
}

/* The numbers and the last text of a small message. */
static int flat(struct reader *r, kb_str data, uint64_t numbers[4], kb_str *text)
{
    struct record record;
    int rc;
    while ((rc = next_record(r, &data, &record)) == 1) {
        if (record.wire == 2)
            *text = record.bytes;
        else if (record.number < 4)
            numbers[record.number] = record.value;
    }
    return rc;
}

static int special_node(struct reader *r, enum special special, kb_str data, struct kb_node **ret)
{
    uint64_t numbers[4] = {0};
    kb_str text = {0};
    char time[KB_TIME_BYTES];
    int rc = flat(r, data, numbers, &text);
    if (rc < 0)
        return rc;
    *ret = NULL;
    switch (special) {
    case TIME:
    case MICRO_TIME:
        if (data.n == 0)
            return 0; /* Go's zero time: null */
        if ((int64_t)numbers[1] > INT64_MAX / 1000001 || (int64_t)numbers[1] < INT64_MIN / 1000001)
            return kb_err_set(r->err, KB_EINVAL, "a time is out of range");
        if (special == TIME)
            kb_time_format((int64_t)numbers[1] * 1000000, time);
        else
            kb_time_format_micro(
                (int64_t)numbers[1] * 1000000 + (int64_t)(numbers[2] / 1000 % 1000000), time);
        *ret = kb_node_cstr(r->a, time);
        return 0;
    case INT_OR_STRING:
        *ret = numbers[1] == 1 ? kb_node_str(r->a, text)
                               : kb_node_int(r->a, (int32_t)(uint32_t)numbers[2]);
        return 0;
    case RAW:
        return text.n ? kb_json_parse(r->a, text, NULL, ret, r->err) : 0;
    default:
        *ret = kb_node_str(r->a, text);
        return 0;
    }
}

static int decode_into(struct reader *r, const struct message *message, kb_str data, unsigned depth,
                       struct kb_node *into);

/* One value; *ret NULL: it counts as absent. */
static int decode_value(struct reader *r, const struct field *field, const struct record *record,
                        unsigned depth, struct kb_node **ret)
{
    *ret = NULL;
    if ((record->wire == 2) !=
        (field->type == T_STRING || field->type == T_BYTES || field->type == T_MESSAGE))
        return kb_err_set(r->err, KB_EINVAL, "field " KB_STR_FMT " has the wrong wire type",
                          KB_STR_ARG(field->name));
    if (field->type == T_MESSAGE && field->message->special != PLAIN)
        return special_node(r, field->message->special, record->bytes, ret);
    if (field->type == T_MESSAGE) {
        *ret = kb_node_map(r->a);
        return decode_into(r, field->message, record->bytes, depth + 1, *ret);
    }
    if (field->type == T_STRING) {
        *ret = kb_node_str(r->a, record->bytes);
    } else if (field->type == T_BYTES) {
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        kb_base64_encode(record->bytes, &text);
        *ret = kb_node_str(r->a, kb_buf_str(&text));
    } else if (field->type == T_BOOL) {
        *ret = kb_node_bool(r->a, record->value != 0);
    } else if (field->type == T_INT) {
        *ret = kb_node_int(r->a, (int64_t)record->value);
    } else {
        double d;
        memcpy(&d, &record->value, sizeof(d));
        *ret = kb_node_double(r->a, d);
    }
    return 0;
}

static int decode_map_entry(struct reader *r, const struct field *field, kb_str data,
                            unsigned depth, struct kb_node *map)
{
    struct record record, value = {.number = 2, .wire = 2};
    struct kb_node *node = NULL;
    kb_str key = {0};
    int rc;
    while ((rc = next_record(r, &data, &record)) == 1) {
        if (record.number == 1)
            key = record.bytes;
        else if (record.number == 2)
            value = record;
    }
    if (rc < 0 || (rc = decode_value(r, field, &value, depth, &node)) < 0)
        return rc;
    kb_node_putn(r->a, map, key, node ? node : kb_node_nil(r->a));
    return 0;
}

static struct kb_node *container(struct reader *r, struct kb_node *into, kb_str name, bool list)
{
    struct kb_node *node = kb_node_getn(into, name);
    if (node == NULL) {
        node = list ? kb_node_array(r->a) : kb_node_map(r->a);
        kb_node_putn(r->a, into, name, node);
    }
    return node;
}

static bool is_zero(const struct field *field, const struct kb_node *node)
{
    if (field->type == T_STRING)
        return node->s.n == 0;
    if (field->message && field->message->special == INT_OR_STRING)
        return kb_str_is(field->name, "targetPort") && node->type == KB_INT && node->i == 0;
    return field->zero_is_absent && (node->type == KB_BOOL ? !node->b : node->i == 0);
}

static int decode_field(struct reader *r, const struct field *field, const struct record *record,
                        unsigned depth, struct kb_node *into)
{
    struct kb_node *node = NULL;
    if (field->in_place && record->wire == 2)
        return decode_into(r, field->message, record->bytes, depth + 1, into);
    if (field->map && record->wire == 2)
        return decode_map_entry(r, field, record->bytes, depth,
                                container(r, into, field->name, false));
    bool packed =
        field->list && record->wire == 2 && (field->type == T_INT || field->type == T_BOOL);
    if (packed) {
        kb_str rest = record->bytes;
        struct record one = {.number = record->number, .wire = 0};
        while (rest.n > 0) {
            if (!take_varint(&rest, &one.value))
                return kb_err_set(r->err, KB_EINVAL, "the body is not well-formed protobuf");
            int rc = decode_field(r, field, &one, depth, into);
            if (rc < 0)
                return rc;
        }
        return 0;
    }
    int rc = decode_value(r, field, record, depth, &node);
    if (rc < 0)
        return rc;
    if (field->list)
        kb_node_append(r->a, container(r, into, field->name, true),
                       node ? node : kb_node_nil(r->a));
    else if (node && !is_zero(field, node))
        kb_node_putn(r->a, into, field->name, node);
    return 0;
}

static int decode_into(struct reader *r, const struct message *message, kb_str data, unsigned depth,
                       struct kb_node *into)
{
    struct record record;
    int rc;
    if (depth > KB_DEPTH_MAX / 2)
        return kb_err_set(r->err, KB_E2BIG, "the body is nested too deep");
    while ((rc = next_record(r, &data, &record)) == 1)
        for (size_t i = 0; i < message->count; i++)
            if (message->fields[i].number == record.number &&
                (rc = decode_field(r, &message->fields[i], &record, depth, into)) < 0)
                return rc;
    return rc;
}

/* ---- the envelope ---- */

struct envelope {
    kb_str api_version, kind, raw;
};

static int read_envelope(struct reader *r, kb_str data, struct envelope *ret)
{
    struct record record, inner;
    int rc;
    while ((rc = next_record(r, &data, &record)) == 1) {
        if (record.number == 2)
            ret->raw = record.bytes;
        kb_str type = record.number == 1 ? record.bytes : (kb_str){0};
        while ((rc = next_record(r, &type, &inner)) == 1) {
            if (inner.number == 1)
                ret->api_version = inner.bytes;
            else if (inner.number == 2)
                ret->kind = inner.bytes;
        }
        if (rc < 0)
            break;
    }
    return rc;
}

/* "apps/v1" and "Deployment": "apps.Deployment". Options come under the group that they are for. */
static const struct message *find(const struct kb_proto *proto, const struct envelope *e)
{
    kb_str version = e->api_version, group = kb_str_cut(&version, '/');
    if (version.p == NULL || kb_str_is(e->kind, "DeleteOptions"))
        group = kb_str_of(kb_str_is(e->kind, "DeleteOptions") ? "meta" : "core");
    group = kb_str_cut(&group, '.'); /* coordination.k8s.io, authentication.k8s.io */
    KB_AUTO(kb_auto_free)
    char *name = kb_strf(KB_STR_FMT "." KB_STR_FMT, KB_STR_ARG(group), KB_STR_ARG(e->kind));
    return kb_map_get(&proto->messages, kb_str_of(name));
}

int kb_proto_decode(const struct kb_proto *proto, struct kb_arena *a, kb_str body,
                    struct kb_node **ret_object, struct kb_err *err)
{
    struct reader r = {a, err};
    struct envelope e = {0};
    if (body.n < 4 || memcmp(body.p, "k8s\0", 4) != 0)
        return kb_err_set(err, KB_EINVAL,
                          "provided data does not appear to be a protobuf message, "
                          "expected prefix [107 56 115 0]");
    int rc = read_envelope(&r, kb_str_n(body.p + 4, body.n - 4), &e);
    if (rc < 0)
        return rc;
    const struct message *message = find(proto, &e);
    if (message == NULL)
        return kb_err_set(err, KB_EMEDIA,
                          "no kind \"" KB_STR_FMT "\" is known in protobuf for \"" KB_STR_FMT "\"",
                          KB_STR_ARG(e.kind), KB_STR_ARG(e.api_version));
    struct kb_node *object = kb_node_map(a);
    kb_node_put(a, object, "kind", kb_node_str(a, e.kind));
    kb_node_put(a, object, "apiVersion", kb_node_str(a, e.api_version));
    if ((rc = decode_into(&r, message, e.raw, 0, object)) < 0)
        return rc;
    *ret_object = object;
    return 0;
}
