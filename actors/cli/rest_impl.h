/* Shared by rest.c and rest_ws.c alone. */
#ifndef KUBUS_CLI_REST_IMPL_H
#define KUBUS_CLI_REST_IMPL_H

#include "actors/cli/kubeconfig.h"
#include "actors/cli/rest.h"

#include <curl/curl.h>

struct kb_rest {
    CURL *curl;
    struct kb_kubeconfig config;
};

/* Address, certificates and time-outs of one transfer; `errors` of CURL_ERROR_SIZE outlives it. */
void kb__rest_setup(struct kb_rest *rest, CURL *curl, const char *path, char *errors);

/* The Status object of a failure, as an error. */
int kb__rest_failure(long http, kb_str body, struct kb_err *err);

#endif
