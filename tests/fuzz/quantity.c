/* A quantity that is accepted has a canonical text of the same value. A fraction of a binary
 * quantity is rounded up when it is written, so there the value may rise; and one that is no
 * multiple of 1024 ("1.953125Ki") is written without a suffix ("2000"), which is decimal to whoever
 * reads it next ("2k"): the text is stable as long as the format is. */
#include "bus/base/check.h"
#include "bus/model/quantity.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kb_quantity q, again;
    char text[KB_QUANTITY_BYTES], text2[KB_QUANTITY_BYTES];
    if (kb_quantity_parse(kb_str_n((const char *)data, n), &q, NULL) < 0)
        return 0;
    kb_quantity_format(q, text);
    KB_ASSERT(kb_quantity_parse(kb_str_of(text), &again, NULL) == 0);
    if (q.format != KB_BINARY_SI)
        KB_ASSERT(kb_quantity_cmp(q, again) == 0);
    KB_ASSERT(kb_quantity_value(q) == kb_quantity_value(again));
    kb_quantity_format(again, text2);
    KB_ASSERT(again.format != q.format || strcmp(text, text2) == 0);
    return 0;
}
