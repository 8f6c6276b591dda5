/* Traces as files: whatever a text says, it is read or refused, and what was read is sound. The
 * first byte chooses the format. */
#include "actors/scheduler/sim/trace.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum kb_trace_format formats[] = {KB_TRACE_CSV, KB_TRACE_YAML, KB_TRACE_JSONL};
    struct kb_trace t = {0};
    struct kb_err err = {0};
    if (n == 0 || n > 1 << 16)
        return 0;
    kb_str text = kb_str_n((const char *)data + 1, n - 1);
    int rc = kb_trace_parse(&t, formats[data[0] % 3], text, "f", KB_TRACE_BOTH, &err);
    KB_ASSERT(rc == 0 || err.text[0] != '\0');
    if (rc == 0)
        rc = kb_trace_check(&t, &err);
    for (size_t i = 0; i < t.nodes_n; i++)
        KB_ASSERT(t.nodes[i].name[0] != '\0' && kb_doc_root(t.nodes[i].doc).p != NULL);
    for (size_t i = 0; i < t.pods_n; i++)
        KB_ASSERT(t.pods[i].arrive_ms >= 0 && t.pods[i].run_ms >= -1 &&
                  kb_str_starts(kb_str_of(t.pods[i].key), "pods/"));
    kb_trace_finish(&t);
    return 0;
}
