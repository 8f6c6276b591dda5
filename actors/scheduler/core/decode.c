#include "actors/scheduler/core/decode.h"

#include "bus/model/quantity.h"
#include "plugins/policy.h"

int64_t kb__amount(kb_val quantity, kb_str resource)
{
    int64_t amount = kb_val_amount(quantity, resource, 0);
    return amount > KB_AMOUNT_MAX ? KB_AMOUNT_MAX : amount;
}

uint32_t kb__effect(kb_str text)
{
    return kb_str_is(text, "NoSchedule")         ? KB_POLICY_NO_SCHEDULE
           : kb_str_is(text, "PreferNoSchedule") ? KB_POLICY_PREFER_NO_SCHEDULE
           : kb_str_is(text, "NoExecute")        ? KB_POLICY_NO_EXECUTE
                                                 : KB_POLICY_ANY_EFFECT;
}
