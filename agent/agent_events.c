/* agent_events.c - what people read in `kubectl describe`. The same thing said again counts its
 * Event up instead of making another. Nobody waits for an Event, and one that is lost is lost. */
#include "agent/agent_impl.h"
#include "bus/base/check.h"
#include "bus/base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { COUNTS_MAX = 1024 };

struct counted {
    char name[320];
    int64_t count;
};

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    (void)user, (void)body;
    if (err != NULL && abs(err->code) != KB_ENOTFOUND && abs(err->code) != KB_EFORBIDDEN)
        kb_debug("%s", err->text);
}

void kb__call_and_forget(struct kb_agent *agent, const char *method, kb_val body)
{
    kb_call(agent->api, method, body, CALL_TIMEOUT_MS, on_reply, agent);
}

void kb__events_free_all(struct kb_agent *agent)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&agent->event_counts, &i, &key, &value);) {
        free(value);
    }
    kb_map_finish(&agent->event_counts);
}

static void count_up(struct kb_agent *agent, const char *ns, const struct counted *counted,
                     const char *now)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "events");
    kb_w_kcstr(&w, "ns", ns);
    kb_w_kcstr(&w, "name", counted->name);
    kb_w_kcstr(&w, "type", "merge");
    kb_w_kmap(&w, "patch");
    kb_w_kint(&w, "count", counted->count);
    kb_w_kcstr(&w, "lastTimestamp", now);
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb__call_and_forget(agent, "object.patch", kb_w_val(&w));
}

/* What is spoken of: a pod, one of its containers, or the node itself. */
struct subject {
    const struct kb__node *node;
    const struct kb__pod *pod; /* NULL: the node */
    int container;             /* -1: the whole pod */
};

static const char *ns_of(const struct subject *s)
{
    return s->pod != NULL ? kb_pod_core_ns(s->pod->core) : "default";
}

static const char *name_of(const struct subject *s)
{
    return s->pod != NULL ? kb_pod_core_name(s->pod->core) : s->node->name;
}

/* A node goes by its name, as kubelet has it: that is where `kubectl describe node` looks. */
static const char *uid_of(const struct subject *s)
{
    return s->pod != NULL ? kb_pod_core_uid(s->pod->core) : s->node->name;
}

static void w_field_path(struct kb_w *w, const struct subject *s)
{
    KB_AUTO(kb_auto_free)
    char *path = kb_strf("spec.%s{%s}", kb_pod_core_list(s->pod->core, s->container),
                         kb_pod_core_container_name(s->pod->core, s->container));
    kb_w_kcstr(w, "fieldPath", path);
}

static void w_involved(struct kb_w *w, const struct subject *s)
{
    kb_w_kmap(w, "involvedObject");
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", s->pod != NULL ? "Pod" : "Node");
    if (s->pod != NULL)
        kb_w_kcstr(w, "namespace", ns_of(s));
    kb_w_kcstr(w, "name", name_of(s));
    kb_w_kcstr(w, "uid", uid_of(s));
    if (s->pod != NULL && s->container >= 0)
        w_field_path(w, s);
    kb_w_end(w);
}

static void create(struct kb_agent *agent, const struct subject *s, const struct counted *counted,
                   const char *const words[3], const char *now)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "events");
    kb_w_kcstr(&w, "ns", ns_of(s));
    kb_w_kmap(&w, "doc");
    kb_w_kcstr(&w, "apiVersion", "v1");
    kb_w_kcstr(&w, "kind", "Event");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", counted->name);
    kb_w_kcstr(&w, "namespace", ns_of(s));
    kb_w_end(&w);
    w_involved(&w, s);
    kb_w_kcstr(&w, "type", words[0]);
    kb_w_kcstr(&w, "reason", words[1]);
    kb_w_kcstr(&w, "message", words[2]);
    kb_w_kmap(&w, "source");
    kb_w_kcstr(&w, "component", "kubelet");
    kb_w_kcstr(&w, "host", s->node->name);
    kb_w_end(&w);
    kb_w_kcstr(&w, "firstTimestamp", now);
    kb_w_kcstr(&w, "lastTimestamp", now);
    kb_w_kint(&w, "count", 1);
    kb_w_kcstr(&w, "reportingComponent", "kubelet");
    kb_w_kcstr(&w, "reportingInstance", s->node->name);
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb__call_and_forget(agent, "object.create", kb_w_val(&w));
}

static void tell(struct kb_agent *agent, const struct subject *s, const char *const words[3])
{
    char now[KB_TIME_BYTES];
    int64_t wall_us = kb_ev_wall_us(agent->ev);
    if (agent->hollow && !agent->options->hollow_events)
        return;
    kb_time_format(wall_us, now);
    KB_AUTO(kb_auto_free)
    char *key = kb_strf("%s/%d/%s/%s", uid_of(s), s->container, words[1], words[2]);
    struct counted *counted = kb_map_get(&agent->event_counts, kb_str_of(key));
    if (counted != NULL) {
        counted->count++;
        count_up(agent, ns_of(s), counted, now);
        return;
    }
    if (agent->event_counts.count >= COUNTS_MAX)
        kb__events_free_all(agent); /* begin anew: at worst an Event appears a second time */
    counted = calloc(1, sizeof *counted);
    KB_ASSERT(counted != NULL);
    snprintf(counted->name, sizeof counted->name, "%.253s.%llx", name_of(s),
             (unsigned long long)(wall_us * 1000 + (int64_t)kb_rand_below(&agent->rand, 1000)));
    counted->count = 1;
    kb_map_put(&agent->event_counts, kb_str_of(key), counted);
    create(agent, s, counted, words, now);
}

void kb__event(struct kb_agent *agent, const struct kb__pod *pod, int container, bool warning,
               const char *reason, const char *message)
{
    const struct subject subject = {pod->node, pod, container};
    tell(agent, &subject, (const char *const[]){warning ? "Warning" : "Normal", reason, message});
}

void kb__node_event(struct kb__node *node, const char *reason)
{
    const struct subject subject = {node, NULL, -1};
    KB_AUTO(kb_auto_free)
    char *message = strcmp(reason, "Starting") == 0
                        ? kb_strf("Starting kubelet.")
                        : kb_strf("Node %s status is now: %s", node->name, reason);
    tell(node->agent, &subject, (const char *const[]){"Normal", reason, message});
}
