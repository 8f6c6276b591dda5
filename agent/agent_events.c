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

static void w_involved(struct kb_w *w, const struct kb__pod *pod, int container)
{
    kb_w_kmap(w, "involvedObject");
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "Pod");
    kb_w_kcstr(w, "namespace", kb_pod_core_ns(pod->core));
    kb_w_kcstr(w, "name", kb_pod_core_name(pod->core));
    kb_w_kcstr(w, "uid", kb_pod_core_uid(pod->core));
    if (container >= 0) {
        bool init = kb_val_at(kb_doc_root(kb_pod_core_doc(pod->core)), "spec.initContainers").p &&
                    container < (int)kb_val_count(kb_val_at(kb_doc_root(kb_pod_core_doc(pod->core)),
                                                            "spec.initContainers"));
        KB_AUTO(kb_auto_free)
        char *path = kb_strf("spec.%s{%s}", init ? "initContainers" : "containers",
                             kb_pod_core_container_name(pod->core, container));
        kb_w_kcstr(w, "fieldPath", path);
    }
    kb_w_end(w);
}

static void create(struct kb_agent *agent, const struct kb__pod *pod, int container,
                   const struct counted *counted, const char *const words[3], const char *now)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    const char *node = pod->node->name;
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "events");
    kb_w_kcstr(&w, "ns", kb_pod_core_ns(pod->core));
    kb_w_kmap(&w, "doc");
    kb_w_kcstr(&w, "apiVersion", "v1");
    kb_w_kcstr(&w, "kind", "Event");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", counted->name);
    kb_w_kcstr(&w, "namespace", kb_pod_core_ns(pod->core));
    kb_w_end(&w);
    w_involved(&w, pod, container);
    kb_w_kcstr(&w, "type", words[0]);
    kb_w_kcstr(&w, "reason", words[1]);
    kb_w_kcstr(&w, "message", words[2]);
    kb_w_kmap(&w, "source");
    kb_w_kcstr(&w, "component", "kubelet");
    kb_w_kcstr(&w, "host", node);
    kb_w_end(&w);
    kb_w_kcstr(&w, "firstTimestamp", now);
    kb_w_kcstr(&w, "lastTimestamp", now);
    kb_w_kint(&w, "count", 1);
    kb_w_kcstr(&w, "reportingComponent", "kubelet");
    kb_w_kcstr(&w, "reportingInstance", node);
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb__call_and_forget(agent, "object.create", kb_w_val(&w));
}

void kb__event(struct kb_agent *agent, const struct kb__pod *pod, int container, bool warning,
               const char *reason, const char *message)
{
    char now[KB_TIME_BYTES];
    int64_t wall_us = kb_ev_wall_us(agent->ev);
    if (agent->hollow && !agent->options->hollow_events)
        return;
    kb_time_format(wall_us, now);
    KB_AUTO(kb_auto_free)
    char *key = kb_strf("%s/%d/%s/%s", kb_pod_core_uid(pod->core), container, reason, message);
    struct counted *counted = kb_map_get(&agent->event_counts, kb_str_of(key));
    if (counted != NULL) {
        counted->count++;
        count_up(agent, kb_pod_core_ns(pod->core), counted, now);
        return;
    }
    if (agent->event_counts.count >= COUNTS_MAX)
        kb__events_free_all(agent); /* begin anew: at worst an Event appears a second time */
    counted = calloc(1, sizeof *counted);
    KB_ASSERT(counted != NULL);
    snprintf(counted->name, sizeof counted->name, "%.253s.%llx", kb_pod_core_name(pod->core),
             (unsigned long long)(wall_us * 1000 + (int64_t)kb_rand_below(&agent->rand, 1000)));
    counted->count = 1;
    kb_map_put(&agent->event_counts, kb_str_of(key), counted);
    const char *words[3] = {warning ? "Warning" : "Normal", reason, message};
    create(agent, pod, container, counted, words, now);
}
