#include "bus/base/check.h"
#include "bus/model/kind.h"

extern const char kb__kinds_bytes[], kb__kinds_bytes_end[];

struct kb_kinds *kb_kinds_builtin(void)
{
    struct kb_kinds *kinds = kb_kinds_new();
    struct kb_err err = {0};
    size_t n = (size_t)(kb__kinds_bytes_end - kb__kinds_bytes);
    /* Written by kindc from our own files: not checked again, and a fault in them is our bug. */
    kb_val document = {(const uint8_t *)kb__kinds_bytes, (const uint8_t *)kb__kinds_bytes + n};
    if (kb_kinds_add(kinds, document, &err) < 0)
        kb_assert_failed(err.text, __FILE__, __LINE__);
    return kinds;
}
