/* Bodies in protobuf: any bytes decode to a tree or an error. The first byte chooses the kind, so
 * that the fuzzer need not find the envelope. */
#include "actors/api/proto.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"

static void put_field(struct kb_buf *out, int number, kb_str bytes)
{
    kb_buf_putc(out, (char)(number << 3 | 2));
    size_t n = bytes.n;
    for (; n >= 128; n >>= 7)
        kb_buf_putc(out, (char)(n | 128));
    kb_buf_putc(out, (char)n);
    kb_buf_add_str(out, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct kb_proto *proto;
    static const char *const kinds[] = {"Pod",  "Deployment", "Secret",    "Service",      "Event",
                                        "Node", "Lease",      "Namespace", "DeleteOptions"};
    static const char *const versions[] = {
        "v1", "apps/v1", "v1", "v1", "v1", "v1", "coordination.k8s.io/v1", "v1", "v1"};
    KB_AUTO(kb_buf_finish) struct kb_buf type = {0}, body = {0};
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *object = NULL;
    struct kb_err err = {0};
    if (n == 0)
        return 0;
    if (proto == NULL)
        proto = kb_proto_new();
    size_t kind = data[0] % (KB_COUNT(kinds) + 1);
    if (kind == KB_COUNT(kinds)) {
        kb_buf_add(&body, data + 1, n - 1);
    } else {
        put_field(&type, 1, kb_str_of(versions[kind]));
        put_field(&type, 2, kb_str_of(kinds[kind]));
        kb_buf_add(&body, "k8s\0", 4);
        put_field(&body, 1, kb_buf_str(&type));
        put_field(&body, 2, kb_str_n((const char *)data + 1, n - 1));
    }
    int rc = kb_proto_decode(proto, &arena, kb_buf_str(&body), &object, &err);
    KB_ASSERT(rc == 0 ? object != NULL : err.text[0] != '\0');
    if (rc == 0) {
        struct kb_doc *doc = kb_node_doc(object);
        kb_doc_destroy(&doc);
    }
    return 0;
}
