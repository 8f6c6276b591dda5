/* A record that is told again: whatever stands in the file, the scheduler takes it in or the line
 * is refused. */
#include "actors/scheduler/sim/replay.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kb_replay replay = {0};
    struct kb_err err = {0};
    if (n > 1 << 16)
        return 0;
    kb_replay_run(kb_str_n((const char *)data, n), "f", NULL, NULL, &replay, &err);
    kb_replay_finish(&replay);
    return 0;
}
