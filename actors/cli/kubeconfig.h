/* A kubeconfig file: where the cluster is and who asks, of its current context. */
#ifndef KUBUS_CLI_KUBECONFIG_H
#define KUBUS_CLI_KUBECONFIG_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

/* Zero-initialized is empty and may be finished. */
struct kb_kubeconfig {
    char *server;                /* "https://127.0.0.1:6443" */
    char *ns;                    /* of the context, "" when it names none */
    struct kb_buf ca, cert, key; /* PEM */
    char *ca_file, *cert_file,
        *key_file; /* where the PEM is when the text does not have it, or NULL */
};

/* What the text says; files that it names are not read. -KB_EINVAL. Finish in any case. */
int kb_kubeconfig_parse(kb_str text, struct kb_kubeconfig *ret, struct kb_err *err);
/* The same of a file, and the files that it names, relative to it. -KB_ENOTFOUND, -KB_EINVAL,
 * -KB_EIO. Finish in any case. */
int kb_kubeconfig_load(const char *path, struct kb_kubeconfig *ret, struct kb_err *err);
void kb_kubeconfig_finish(struct kb_kubeconfig *config);

#endif
