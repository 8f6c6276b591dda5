/* The gateway actor: the Kubernetes API over HTTPS, in front of the bus. */
#ifndef KUBUS_API_ACTOR_H
#define KUBUS_API_ACTOR_H

#include "bus/base/err.h"

#include <stdbool.h>

struct kb_api_config {
    const char *data_dir;
    const char *listen;       /* "127.0.0.1:6443" */
    const char *service_cidr; /* NULL: the object service's default */
    bool standalone;          /* without kubusd: services are sockets in the run folder */
};

/* Serve until told to stop. 0 after an orderly stop. */
int kb_api_run(const struct kb_api_config *config, struct kb_err *err);

#endif
