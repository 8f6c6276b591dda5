/* The command line's place on the bus: a standalone actor that waits for one answer at a time. */
#ifndef KUBUS_CLI_TOOL_H
#define KUBUS_CLI_TOOL_H

#include "bus/actor.h"

/* Join the bus of the cluster in `data_dir`. Caller destroys with kb_actor_destroy. */
int kb_tool_open(const char *data_dir, struct kb_actor **ret_actor, struct kb_err *err);
/* Call and wait. `body` may be KB_NONE. ret_doc may be NULL; caller destroys it. */
int kb_tool_call(struct kb_actor *actor, const char *service, const char *method, kb_val body,
                 kb_ms timeout_ms, struct kb_doc **ret_doc, struct kb_err *err);
/* Let the loop run for a while: where a tool waits for something to change. False: the user
 * interrupts. */
bool kb_tool_wait(struct kb_actor *actor, kb_ms ms);

#endif
