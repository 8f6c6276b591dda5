/* The gateway's certificates while it runs: looked at now and then, issued anew before they end,
 * and shown to whoever connects from then on. Nobody is disconnected. */
#ifndef KUBUS_API_CERTS_H
#define KUBUS_API_CERTS_H

#include "actors/api/http/server.h"
#include "actors/api/pki.h"

struct kb_certs;

/* Bring the files to a good state (kb_pki_ensure). What `config` says is copied. Caller owns it. */
int kb_certs_new(const struct kb_pki_config *config, struct kb_certs **ret, struct kb_err *err);
void kb_certs_destroy(struct kb_certs **certs_p);
/* Name the server's files; valid as long as `certs`. */
void kb_certs_use(const struct kb_certs *certs, struct kb_http_config *config);
/* At `wall_us`: bring the files to a good state, and have the server use them if any was issued.
 * 1: it does; 0: nothing was to do; or an error: all is as it was, and the next call tries again. A
 * few milliseconds at most. */
int kb_certs_check(struct kb_certs *certs, struct kb_http_server *server, int64_t wall_us,
                   struct kb_err *err);

#endif
