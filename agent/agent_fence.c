/* agent_fence.c - what an agent that died has sent does not arrive behind its successor's.
 *
 * A pod's status is written when it changes, and not again. So one that arrives late would stay: a
 * pod that has ended would be shown as running, by a write of the process that saw it run. As
 * controllers do (docs/decisions/0011), the agent has a lease in the store, puts its epoch into
 * each status, and acquires a new one at start and after a write whose outcome it does not know;
 * the store refuses what carries an older one. Pods are listed after that: the list shows
 * everything that the process before did.
 *
 * Other writes need no fence. The Node's status and its Lease are written again all the time; a
 * deletion names the uid of a pod of which nothing is left here, and that stays true. */
#include "agent/agent_impl.h"
#include "bus/base/log.h"

enum { HOLD_MS = 24 * 3600 * 1000 }; /* nobody else wants it: it need not run out */

static void ask(void *arg);

static void on_epoch(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_agent *agent = user;
    agent->fence_asking = false;
    if (err != NULL) {
        kb_debug("lease %s: %s", agent->fence, err->text);
        kb_ev_arm(agent->ev, &agent->fence_timer, RETRY_CALL_MS, ask, agent);
        return;
    }
    agent->epoch = kb_val_int(kb_val_get(body, "epoch"), 0);
    for (size_t i = 0; i < agent->n_nodes; i++)
        if (agent->nodes[i].follow)
            kb__node_follow_pods(&agent->nodes[i]);
    kb__pod_status_next(agent);
}

static void ask(void *arg)
{
    struct kb_agent *agent = arg;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", agent->fence);
    kb_w_kcstr(&w, "holder", kb_actor_name(agent->actor));
    kb_w_kint(&w, "ttl_ms", HOLD_MS);
    kb_w_end(&w);
    kb_call(kb_actor_peer(agent->actor, "store"), "lease.acquire", kb_w_val(&w), CALL_TIMEOUT_MS,
            on_epoch, agent);
}

void kb__fence_renew(struct kb_agent *agent)
{
    agent->epoch = 0;
    if (agent->fence_asking)
        return;
    agent->fence_asking = true;
    ask(agent);
}

void kb__fence_start(struct kb_agent *agent)
{
    agent->fence = kb_strf("%s", kb_actor_name(agent->actor));
    kb__fence_renew(agent);
}

void kb__fence_write(const struct kb_agent *agent, struct kb_w *w)
{
    kb_w_kmap(w, "lease");
    kb_w_kcstr(w, "name", agent->fence);
    kb_w_kint(w, "epoch", agent->epoch);
    kb_w_end(w);
}
