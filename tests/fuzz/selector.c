/* A label selector that is accepted has a canonical text, which parses to the same text. */
#include "bus/base/check.h"
#include "bus/model/selector.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    KB_AUTO(kb_selector_destroy) struct kb_selector *s = NULL, *again = NULL;
    KB_AUTO(kb_field_selector_destroy) struct kb_field_selector *fields = NULL;
    KB_AUTO(kb_buf_finish) struct kb_buf one = {0}, two = {0};
    kb_str text = kb_str_n((const char *)data, n);
    kb_val nothing = {NULL, NULL};
    if (kb_field_selector_parse(text, &fields, NULL) == 0)
        kb_field_selector_match(fields, nothing);
    if (kb_selector_parse(text, &s, NULL) < 0)
        return 0;
    kb_selector_match(s, nothing);
    kb_selector_format(s, &one);
    if (one.n > 4096)
        return 0; /* the canonical text may be longer than the bound on input */
    KB_ASSERT(kb_selector_parse(kb_buf_str(&one), &again, NULL) == 0);
    kb_selector_format(again, &two);
    KB_ASSERT(kb_str_eq(kb_buf_str(&one), kb_buf_str(&two)));
    return 0;
}
