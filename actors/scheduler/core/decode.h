/* Words of objects as numbers. Amounts of resources are counted with CPU in milli and everything
 * else in whole units, both rounded up. */
#ifndef KUBUS_SCHEDULER_DECODE_H
#define KUBUS_SCHEDULER_DECODE_H

#include "bus/model/doc.h"

/* No amount counts for more (a pebibyte, say): thousands of them on a node still sum without
 * overflow. */
#define KB_AMOUNT_MAX (INT64_C(1) << 50)

/* A quantity ("500m", "1Gi", or a plain number); 0 for what is malformed or negative: the API has
 * refused such objects before they come here. */
int64_t kb__amount(kb_val quantity, kb_str resource);
/* "NoSchedule" → KB_POLICY_NO_SCHEDULE …; anything else is KB_POLICY_ANY_EFFECT. */
uint32_t kb__effect(kb_str text);

#endif
