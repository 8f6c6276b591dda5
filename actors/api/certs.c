#include "actors/api/certs.h"

#include "bus/base/check.h"
#include "bus/base/str.h"

#include <stdlib.h>

struct kb_certs {
    struct kb_pki_config config; /* its texts are those below */
    char *dir, *kubeconfig, *host, *hostname;
    char *cert, *key, *ca;
    bool issued; /* and not yet in use */
};

static char *dup_or_null(const char *text)
{
    return text ? kb_str_dup(kb_str_of(text)) : NULL;
}

int kb_certs_new(const struct kb_pki_config *config, struct kb_certs **ret, struct kb_err *err)
{
    KB_AUTO(kb_certs_destroy) struct kb_certs *certs = calloc(1, sizeof(*certs));
    KB_ASSERT(certs != NULL);
    certs->config = *config;
    certs->config.dir = certs->dir = dup_or_null(config->dir);
    certs->config.kubeconfig = certs->kubeconfig = dup_or_null(config->kubeconfig);
    certs->config.host = certs->host = dup_or_null(config->host);
    certs->config.hostname = certs->hostname = dup_or_null(config->hostname);
    certs->cert = kb_strf("%s/apiserver.crt", config->dir);
    certs->key = kb_strf("%s/apiserver.key", config->dir);
    certs->ca = kb_strf("%s/ca.crt", config->dir);
    int rc = kb_pki_ensure(&certs->config, NULL, err);
    if (rc < 0)
        return rc;
    *ret = KB_STEAL(certs);
    return 0;
}

void kb_certs_destroy(struct kb_certs **certs_p)
{
    struct kb_certs *certs = KB_STEAL(*certs_p);
    if (certs == NULL)
        return;
    char *texts[] = {certs->dir,  certs->kubeconfig, certs->host, certs->hostname,
                     certs->cert, certs->key,        certs->ca};
    for (size_t i = 0; i < KB_COUNT(texts); i++)
        free(texts[i]);
    free(certs);
}

void kb_certs_use(const struct kb_certs *certs, struct kb_http_config *config)
{
    config->cert_file = certs->cert;
    config->key_file = certs->key;
    config->client_ca_file = certs->ca;
}

int kb_certs_check(struct kb_certs *certs, struct kb_http_server *server, int64_t wall_us,
                   struct kb_err *err)
{
    bool issued = false;
    certs->config.wall_us = wall_us;
    int rc = kb_pki_ensure(&certs->config, &issued, err);
    certs->issued |= issued;
    if (rc < 0 || !certs->issued)
        return rc;
    if ((rc = kb_http_server_renew(server, err)) < 0)
        return rc;
    certs->issued = false;
    return 1;
}
