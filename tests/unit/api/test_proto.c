#include "actors/api/proto.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

/* A message is written as fields: N "text", N {message}, N 5 a number; enough for these tests. */
static void varint(struct kb_buf *out, uint64_t x)
{
    for (; x >= 128; x >>= 7)
        kb_buf_putc(out, (char)(x | 128));
    kb_buf_putc(out, (char)x);
}

static void put_number(struct kb_buf *out, int field, int64_t value)
{
    varint(out, (uint64_t)field << 3);
    varint(out, (uint64_t)value);
}

static void put_bytes(struct kb_buf *out, int field, kb_str bytes)
{
    varint(out, (uint64_t)field << 3 | 2);
    varint(out, bytes.n);
    kb_buf_add_str(out, bytes);
}

static void put(struct kb_buf *out, int field, const char *text)
{
    put_bytes(out, field, kb_str_of(text));
}

/* Close a message: its bytes become a field of `out`. */
static void put_message(struct kb_buf *out, int field, struct kb_buf *message)
{
    put_bytes(out, field, kb_buf_str(message));
    kb_buf_finish(message);
}

static void decode(const char *api_version, const char *kind, struct kb_buf *raw, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf body = {0}, type = {0}, json = {0};
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_proto_destroy) struct kb_proto *proto = kb_proto_new();
    struct kb_node *object = NULL;
    struct kb_err err = {0};
    kb_buf_add(&body, "k8s\0", 4);
    put(&type, 1, api_version);
    put(&type, 2, kind);
    put_bytes(&body, 1, kb_buf_str(&type));
    put_bytes(&body, 2, kb_buf_str(raw));
    KB_CHECK_OK(kb_proto_decode(proto, &arena, kb_buf_str(&body), &object, &err), &err);
    kb_json_write_node(&json, object, 0);
    KB_CHECK_STR(json.p, want);
    kb_buf_finish(raw);
}

KB_TEST(proto, reads_maps_bytes_and_leaves_out_empty_texts)
{
    struct kb_buf raw = {0}, meta = {0}, entry = {0};
    put(&meta, 1, "s");
    put(&meta, 2, "");
    put_message(&raw, 1, &meta);
    put(&entry, 1, "k");
    put(&entry, 2, "v\xff");
    put_message(&raw, 2, &entry);
    put(&raw, 3, "Opaque");
    decode("v1", "Secret", &raw,
           "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"data\":{"
           "\"k\":\"dv8=\"},"
           "\"type\":\"Opaque\"}");
}

KB_TEST(proto, reads_messages_that_are_one_value_in_json)
{
    struct kb_buf raw = {0}, meta = {0}, time = {0}, spec = {0}, port = {0}, target = {0};
    put_number(&time, 1, 1800000000);
    put_number(&time, 2, 0);
    put_message(&meta, 8, &time); /* creationTimestamp */
    put_message(&raw, 1, &meta);
    put_number(&port, 3, 80);
    put_number(&target, 1, 1);
    put(&target, 3, "http");
    put_message(&port, 4, &target);
    put_number(&port, 5, 0); /* nodePort: no pointer in Go, so absent */
    put_message(&spec, 1, &port);
    put_message(&raw, 2, &spec);
    decode("v1", "Service", &raw,
           "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"creationTimestamp\":\"2027-"
           "01-15T08:00:00Z\"},"
           "\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":\"http\"}]}}");
}

KB_TEST(proto, flattens_what_is_inline_and_keeps_zeros_of_pointers)
{
    struct kb_buf raw = {0}, spec = {0}, template = {0}, pod = {0}, volume = {0}, source = {0},
                  map = {0}, ref = {0};
    put_number(&spec, 1, 0); /* replicas: a pointer */
    put(&ref, 1, "cm");
    put_message(&map, 1, &ref);
    put_message(&source, 19, &map);
    put(&volume, 1, "v");
    put_message(&volume, 2, &source);
    put_message(&pod, 1, &volume);
    put_message(&template, 2, &pod);
    put_message(&spec, 3, &template);
    put_message(&raw, 2, &spec);
    decode("apps/v1", "Deployment", &raw,
           "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/"
           "v1\",\"spec\":{\"replicas\":0,\"template\":{\"spec\":{\"volumes\":"
           "[{\"name\":\"v\",\"configMap\":{\"name\":\"cm\"}}]}}}}");
}

KB_TEST(proto, refuses_what_is_malformed)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } cases[] = {{"", 0, KB_EINVAL},
                 {"{\"kind\":1}", 10, KB_EINVAL},
                 {"k8s\0\x0a\x7f", 6, KB_EINVAL},
                 {"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Thing", 17, KB_EMEDIA},
                 {"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02\x0a\x05", 19, KB_EINVAL},
                 {"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02\x08\x05", 19, KB_EINVAL}};
    KB_AUTO(kb_proto_destroy) struct kb_proto *proto = kb_proto_new();
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
        struct kb_node *object = NULL;
        struct kb_err err = {0};
        KB_CHECK_I64(
            kb_proto_decode(proto, &arena, kb_str_n(cases[i].bytes, cases[i].n), &object, &err), ==,
            -cases[i].code);
    }
}
