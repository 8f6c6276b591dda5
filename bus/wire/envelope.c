/* envelope.c - headers, written by hand and read in one walk.
 *
 * A header is some fifty bytes and every message has one, so it is written straight into a buffer
 * that is reused, and decoded without looking a field up twice. */
#include "bus/wire/envelope.h"

#include "bus/base/limits.h"

static const char *const words[KB_WIRE_COUNT] = {
    "",
#define KB_MESSAGE(id, word) word,
#include "bus/wire/messages.def"
};

static const struct kb_wire_method methods[] = {
#define KB_METHOD(service, name, stream) {service, name, stream},
#include "bus/wire/messages.def"
};

const char *kb_wire_word(enum kb_wire_type type)
{
    return (unsigned)type < KB_WIRE_COUNT ? words[type] : "";
}

const struct kb_wire_method *kb_wire_method(kb_str name)
{
    for (size_t i = 0; i < KB_COUNT(methods); i++)
        if (kb_str_is(name, methods[i].name))
            return &methods[i];
    return NULL;
}

/* ---- encoding ---- */

static char *put_big(char *p, uint64_t x, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *p++ = (char)(x >> (8 * i));
    return p;
}

static char *put_int(char *p, int64_t i)
{
    if (i >= 0 && i <= 127) {
        *p++ = (char)i;
        return p;
    }
    if (i >= 0 && i <= UINT32_MAX) {
        *p++ = (char)0xce;
        return put_big(p, (uint64_t)i, 4);
    }
    *p++ = (char)0xd3;
    return put_big(p, (uint64_t)i, 8);
}

static char *put_str(char *p, kb_str s)
{
    if (s.n <= 31) {
        *p++ = (char)(0xa0 | s.n);
    } else {
        *p++ = (char)0xda;
        p = put_big(p, s.n, 2);
    }
    memcpy(p, s.p ? s.p : "", s.n);
    return p + s.n;
}

struct encoder {
    char *p;
    int fields;
};

static void field_int(struct encoder *e, const char *key, int64_t i)
{
    e->p = put_int(put_str(e->p, kb_str_of(key)), i);
    e->fields++;
}

static void field_str(struct encoder *e, const char *key, kb_str s)
{
    if (s.n == 0)
        return;
    e->p = put_str(put_str(e->p, kb_str_of(key)), s);
    e->fields++;
}

void kb_wire_encode(const struct kb_wire_head *head, struct kb_buf *out)
{
    kb_buf_clear(out);
    char *start = kb_buf_reserve(out, 160 + head->method.n + head->from.n + head->db.n);
    struct encoder e = {.p = start + 1};
    field_int(&e, "v", head->version ? head->version : KB_WIRE_VERSION);
    field_str(&e, "t", kb_str_of(kb_wire_word(head->type)));
    if (head->id)
        field_int(&e, "id", (int64_t)head->id);
    field_str(&e, "m", head->method);
    field_str(&e, "from", head->from);
    if (head->deadline_ms)
        field_int(&e, "dl", head->deadline_ms);
    if (head->type == KB_WIRE_CREDIT)
        field_int(&e, "n", head->credit);
    else if (head->credit)
        field_int(&e, "cr", head->credit);
    if (head->type == KB_WIRE_EVENT || head->type == KB_WIRE_BEAT) {
        field_str(&e, "db", head->db);
        field_int(&e, "rev", head->rev);
        field_int(&e, "prev", head->prev);
        field_int(&e, "now", head->now);
    }
    start[0] = (char)(0x80 | e.fields); /* at most 11 fields: a fixmap */
    out->n = (size_t)(e.p - out->p);
    *e.p = '\0';
}

/* ---- decoding ---- */

static enum kb_wire_type type_of(kb_str word)
{
    for (int i = 1; i < KB_WIRE_COUNT; i++) /* the frequent ones stand first */
        if (kb_str_is(word, words[i]))
            return (enum kb_wire_type)i;
    return KB_WIRE_NONE;
}

/* A field's name as a number, so that a header is read by one switch. */
#define NAME(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

static uint32_t name_of(kb_str key)
{
    uint32_t name = 0;
    if (key.n > 4)
        return 0;
    for (size_t i = 0; i < 4; i++)
        name = name << 8 | (i < key.n ? (uint8_t)key.p[i] : 0);
    return name;
}

static void decode_field(struct kb_wire_head *head, kb_str key, kb_val val)
{
    switch (name_of(key)) {
    case NAME('v', 0, 0, 0):
        head->version = kb_val_int(val, 0);
        break;
    case NAME('t', 0, 0, 0):
        head->type = type_of(kb_val_str(val));
        break;
    case NAME('i', 'd', 0, 0):
        head->id = (uint64_t)kb_val_int(val, 0);
        break;
    case NAME('m', 0, 0, 0):
        head->method = kb_val_str(val);
        break;
    case NAME('f', 'r', 'o', 'm'):
        head->from = kb_val_str(val);
        break;
    case NAME('d', 'l', 0, 0):
        head->deadline_ms = kb_val_int(val, 0);
        if (head->deadline_ms > INT32_MAX) /* a month: there is none */
            head->deadline_ms = INT32_MAX;
        break;
    case NAME('c', 'r', 0, 0):
    case NAME('n', 0, 0, 0):
        head->credit = kb_val_int(val, 0);
        break;
    case NAME('d', 'b', 0, 0):
        head->db = kb_val_str(val);
        break;
    case NAME('r', 'e', 'v', 0):
        head->rev = kb_val_int(val, 0);
        break;
    case NAME('p', 'r', 'e', 'v'):
        head->prev = kb_val_int(val, 0);
        break;
    case NAME('n', 'o', 'w', 0):
        head->now = kb_val_int(val, 0);
        break;
    }
}

static int head_valid(const struct kb_wire_head *head, struct kb_err *err)
{
    if (head->type == KB_WIRE_NONE)
        return kb_err_set(err, KB_EINVAL, "header has no known type");
    bool event = head->type == KB_WIRE_EVENT || head->type == KB_WIRE_BEAT;
    if (!event && (head->id == 0 || head->id > INT64_MAX))
        return kb_err_set(err, KB_EINVAL, "header has no id");
    if (head->deadline_ms < 0 || head->credit < 0 || head->credit > INT32_MAX || head->rev < 0 ||
        head->prev < 0 || head->now < 0)
        return kb_err_set(err, KB_EINVAL, "header has a number out of bounds");
    if (head->type == KB_WIRE_CALL && (head->method.n == 0 || head->method.n > 128))
        return kb_err_set(err, KB_EINVAL, "call without a method");
    if (head->from.n > 255 || head->db.n > 64)
        return kb_err_set(err, KB_E2BIG, "header has a name that is too long");
    if (head->version != KB_WIRE_VERSION)
        return kb_err_set(err, KB_ENOSYS, "protocol version %lld is not supported, only %d is",
                          (long long)head->version, KB_WIRE_VERSION);
    return 0;
}

int kb_wire_decode(kb_str frame, struct kb_wire_head *ret_head, struct kb_err *err)
{
    struct kb_err local = {0};
    if (err == NULL)
        err = &local;
    if (frame.n > KB_HEADER_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "header of %zu bytes", frame.n);
    kb_val val;
    int rc = kb_val_check(frame.p, frame.n, &val, err);
    if (rc < 0)
        return kb_err_wrap(err, "header");
    if (kb_val_type(val) != KB_MAP)
        return kb_err_set(err, KB_EINVAL, "header is not a map");
    *ret_head = (struct kb_wire_head){0};
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);)
        decode_field(ret_head, it.key, it.val);
    return head_valid(ret_head, err);
}

int kb_wire_body(kb_str frame, kb_val *ret_body, struct kb_err *err)
{
    *ret_body = (kb_val){NULL, NULL};
    if (frame.n == 0)
        return 0;
    struct kb_err local = {0};
    if (err == NULL)
        err = &local;
    if (frame.n > KB_FRAME_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "body of %zu bytes", frame.n);
    kb_val val;
    if (kb_val_check(frame.p, frame.n, &val, err) < 0)
        return kb_err_wrap(err, "body");
    if (kb_val_type(val) != KB_MAP)
        return kb_err_set(err, KB_EINVAL, "body is not a map");
    *ret_body = val;
    return 0;
}

/* ---- errors ---- */

/* A text that was cut at a bound, or that quotes a file's bytes, need not be UTF-8. */
static void put_text(struct kb_w *w, const char *key, const char *text)
{
    char copy[KB_ERR_TEXT_BYTES];
    uint8_t head[3] = {0xda};
    kb_str_copy(kb_str_n(text, strnlen(text, sizeof(copy) - 1)), copy, sizeof(copy));
    size_t n = strlen(copy);
    uint8_t as_doc[sizeof(head) + sizeof(copy)];
    head[1] = (uint8_t)(n >> 8), head[2] = (uint8_t)n;
    memcpy(as_doc, head, sizeof(head));
    memcpy(as_doc + sizeof(head), copy, n);
    kb_val unused;
    struct kb_err why = {0};
    if (kb_val_check(as_doc, sizeof(head) + n, &unused, &why) < 0)
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)copy[i] >= 0x80)
                copy[i] = '?';
    kb_w_kcstr(w, key, copy);
}

void kb_wire_error(const struct kb_err *err, kb_val details, struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kint(w, "code", kb_err_http(err->code));
    kb_w_kcstr(w, "reason", kb_err_reason(err->code));
    put_text(w, "message", err->text[0] ? err->text : kb_err_text(err->code));
    if (kb_val_type(details) == KB_MAP)
        for (struct kb_iter it = kb_iter(details); kb_iter_next(&it);) {
            kb_w_str(w, it.key);
            kb_w_raw(w, it.val);
        }
    kb_w_end(w);
}

void kb_wire_error_read(kb_val body, struct kb_err *ret_err)
{
    char reason[64];
    if (!kb_str_copy(kb_val_str_at(body, "reason"), reason, sizeof(reason)))
        reason[0] = '\0';
    int code = kb_err_from_reason(reason, (int)kb_val_int_at(body, "code", 500));
    kb_str text = kb_val_str_at(body, "message");
    kb_err_set(ret_err, code, KB_STR_FMT, KB_STR_ARG(text));
}
