/* agent_fence.c - what an agent that died has sent does not arrive behind its successor's.
 *
 * A pod's status is written when it changes, and not again. So one that arrives late would stay: a
 * pod that has ended would be shown as running, by a write of the process that saw it run. As
 * controllers do (bus/model/fence.h, docs/decisions/0011), the agent has a lease in the store, puts
 * its epoch into each status, and acquires a new one at start and after a write whose outcome it
 * does not know; the store refuses what carries an older one. Pods are listed after that: the list
 * shows everything that the process before did.
 *
 * Other writes need no fence. The Node's status and its Lease are written again all the time; a
 * deletion names the uid of a pod of which nothing is left here, and that stays true. */
#include "agent/agent_impl.h"
#include "bus/base/log.h"

static void ask(void *arg);

static void on_epoch(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_agent *agent = user;
    if (err != NULL)
        kb_debug("lease %s: %s", agent->fence.lease, err->text);
    if (!kb_fence_answer(&agent->fence, err, body, kb_ev_now(agent->ev))) {
        ask(agent);
        return;
    }
    for (size_t i = 0; i < agent->n_nodes; i++)
        if (agent->nodes[i].follow)
            kb__node_follow_pods(&agent->nodes[i]);
    kb__pod_status_next(agent);
}

/* Now, or when it is due. */
static void ask(void *arg)
{
    struct kb_agent *agent = arg;
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    kb_ms now = kb_ev_now(agent->ev), wait = kb_fence_wait_ms(&agent->fence, now);
    if (kb_fence_ask(&agent->fence, now, kb_actor_name(agent->actor), &body))
        kb_call(kb_actor_peer(agent->actor, "store"), "lease.acquire", kb_w_val(&body),
                KB_FENCE_CALL_MS, on_epoch, agent);
    else if (wait > 0)
        kb_ev_arm(agent->ev, &agent->fence_timer, wait, ask, agent);
}

void kb__fence_doubt(struct kb_agent *agent, int64_t epoch)
{
    (void)kb_fence_doubt(&agent->fence, epoch, kb_ev_now(agent->ev));
    ask(agent);
}

void kb__fence_start(struct kb_agent *agent)
{
    kb_fence_init(&agent->fence, kb_actor_name(agent->actor));
    ask(agent);
}

void kb__fence_stop(struct kb_agent *agent)
{
    kb_ev_disarm(agent->ev, &agent->fence_timer);
    kb_fence_finish(&agent->fence);
}
