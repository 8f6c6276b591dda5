/* The cluster's certificates: made at first start, renewed before they expire, never overwritten
 * while they are good. All keys are ECDSA P-256: made in under a millisecond. */
#ifndef KUBUS_API_PKI_H
#define KUBUS_API_PKI_H

#include "bus/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Files in `dir`, mode 0600: ca.crt ca.key, apiserver.crt apiserver.key, admin.crt admin.key
 * (CN=kubernetes-admin, O=system:masters), sa.key sa.pub (signs ServiceAccount tokens, ES256). */
struct kb_pki_config {
    const char *dir;        /* DATA/pki; made when missing, mode 0700 */
    const char *kubeconfig; /* DATA/kubeconfig; NULL: none is written */
    const char *host;       /* where clients reach the server, name or address; NULL, "", "0.0.0.0"
                               and "::" become 127.0.0.1 */
    int port;
    const char *hostname; /* of this machine; NULL: gethostname */
    int64_t wall_us;      /* the time now */
};

/* Bring all of it to a good state. Killed at any instruction, the next call completes it: a file is
 * replaced whole, a key that is good is kept, and a certificate is issued anew when it is missing,
 * unreadable, not its key's, not of this CA, within 30 days of its end, or lacks a name or address
 * that the server goes by. Idempotent; also right to call once a day. Processes that call it at the
 * same time wait for each other. ret_changed (may be NULL): a certificate was issued.
 * -KB_EIO, -KB_ENOSPACE, -KB_EINTERNAL. */
int kb_pki_ensure(const struct kb_pki_config *config, bool *ret_changed, struct kb_err *err);

#endif
