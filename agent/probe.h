/* Asking a container once how it is, and running its hooks: exec, httpGet, tcpSocket, sleep. */
#ifndef KUBUS_AGENT_PROBE_H
#define KUBUS_AGENT_PROBE_H

#include "agent/runtime.h"
#include "bus/model/doc.h"

struct kb_probe;

/* `words`: why not, in kubelet's words; borrowed. Called once, never from inside kb_probe_start().
 */
typedef void kb_probe_done(void *arg, bool ok, const char *words);

struct kb_probe_target {
    struct kb_rt_ref ref;
    const char *ip;   /* of the pod */
    kb_val container; /* for named ports */
};

/* `handler` has one of exec, httpGet, tcpSocket, sleep (of a probe or of a lifecycle hook). Never
 * NULL; it belongs to the caller, who destroys it in or after done(). */
struct kb_probe *kb_probe_start(struct kb_runtime *rt, struct kb_ev *ev, kb_val handler,
                                const struct kb_probe_target *target, kb_ms timeout_ms,
                                kb_probe_done *done, void *arg);
void kb_probe_destroy(struct kb_probe **probe_p); /* cancels; no callback follows */

/* The status of an HTTP/1 answer of which this much has come: 0: more is needed, -1: it is none. */
int kb_probe_http_status(kb_str answer);

#endif
