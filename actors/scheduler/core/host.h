/* The part of struct kb_policy_host that is about the pods of the cluster. */
#ifndef KUBUS_SCHEDULER_HOST_H
#define KUBUS_SCHEDULER_HOST_H

#include "plugins/policy.h"

void kb__host_fill_pods(struct kb_policy_host *host);

#endif
