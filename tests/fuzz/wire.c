/* Frames of the bus: the first two bytes split the input into a header and a body. */
#include "bus/base/check.h"
#include "bus/wire/envelope.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kb_wire_head head, again;
    struct kb_err err = {0};
    kb_val body;
    if (n < 1)
        return 0;
    size_t split = data[0] < n - 1 ? data[0] : n - 1;
    kb_str header = kb_str_n((const char *)data + 1, split);
    if (kb_wire_decode(header, &head, &err) == 0) {
        KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
        kb_wire_encode(&head, &buf);
        KB_ASSERT(kb_wire_decode(kb_buf_str(&buf), &again, &err) == 0);
        KB_ASSERT(again.type == head.type && again.id == head.id);
        KB_ASSERT(kb_str_eq(again.method, head.method) && kb_str_eq(again.from, head.from));
    }
    if (kb_wire_body(kb_str_n(header.p + split, n - 1 - split), &body, &err) == 0) {
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        kb_wire_error_read(body, &err);
        if (err.code) {
            kb_wire_error(&err, body, &w);
            KB_ASSERT(kb_wire_body(kb_buf_str(&w.buf), &body, &err) == 0);
        }
    }
    return 0;
}
