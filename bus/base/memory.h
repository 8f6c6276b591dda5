/* Memory that a process needed to start, or for a burst, and does not need to idle. */
#ifndef KUBUS_BASE_MEMORY_H
#define KUBUS_BASE_MEMORY_H

#include "bus/base/auto.h"

/* Give free heap pages back and unmap code that has been used: what is needed again is mapped again
 * from the page cache. Some 100 µs after a start; linear in what
 * of the heap is free. */
KB_API void kb_memory_give_back(void);

#endif
