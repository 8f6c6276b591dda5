/* `kubus policy new NAME`: a folder that builds a scheduling policy and tries it. */
#ifndef KUBUS_CLI_POLICY_NEW_H
#define KUBUS_CLI_POLICY_NEW_H

#include "bus/base/err.h"

/* Write the folder NAME, which must not be there. -KB_EINVAL: no name for a policy; -KB_EEXISTS. */
int kb_policy_new(const char *name, struct kb_err *err);

#endif
