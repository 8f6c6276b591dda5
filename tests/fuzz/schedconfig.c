/* Any text is a scheduler configuration or is refused; what is accepted can be put to work unless a
 * policy refuses its arguments. */
#include "actors/scheduler/config.h"
#include "actors/scheduler/core/core.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kb_config config = {0};
    struct kb_err err = {0};
    if (kb_config_parse(kb_str_n((const char *)data, n), NULL, NULL, &config, &err) < 0) {
        KB_ASSERT(err.text[0] != '\0');
        return 0;
    }
    struct kb_core *core = kb_sched_core_new(1);
    for (size_t i = 0; i < config.profiles_n; i++) {
        const struct kb_config_profile *p = &config.profiles[i];
        uint32_t index;
        KB_ASSERT(p->n > 0 && p->n <= KB_PROFILE_POLICIES);
        if (kb_core_add_profile(core, p->name, p->entries, p->n, &index, &err) < 0)
            KB_ASSERT(err.text[0] != '\0');
    }
    kb_sched_core_destroy(&core);
    kb_config_finish(&config);
    return 0;
}
