#include "actors/scheduler/objects.h"

#include "actors/scheduler/core/devices.h"
#include "bus/base/clock.h"
#include "bus/base/limits.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_ours(kb_val condition)
{
    return kb_str_is(kb_val_str(kb_val_get(condition, "type")), "PodScheduled");
}

static const char *status_text(const struct kb_sched_condition *c)
{
    return c->scheduled ? "True" : "False";
}

static kb_val find_condition(kb_val pod)
{
    kb_val list = kb_val_get(kb_val_get(pod, "status"), "conditions");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        if (is_ours(it.val))
            return it.val;
    return (kb_val){0};
}

bool kb__sched_has_condition(kb_val pod, const struct kb_sched_condition *c)
{
    kb_val have = find_condition(pod);
    return kb_str_is(kb_val_str(kb_val_get(have, "status")), status_text(c)) &&
           kb_str_is(kb_val_str(kb_val_get(have, "reason")), c->reason) &&
           kb_str_is(kb_val_str(kb_val_get(have, "message")), c->message);
}

static void write_condition(struct kb_w *w, kb_val old, const struct kb_sched_condition *c)
{
    char now[KB_TIME_BYTES];
    kb_time_format(c->wall_us, now);
    bool same = kb_str_is(kb_val_str(kb_val_get(old, "status")), status_text(c));
    kb_val since = kb_val_get(old, "lastTransitionTime");
    kb_w_map(w);
    kb_w_key(w, "lastProbeTime");
    kb_w_nil(w);
    if (same && kb_val_present(since))
        kb_w_kraw(w, "lastTransitionTime", since);
    else
        kb_w_kcstr(w, "lastTransitionTime", now);
    if (c->message[0])
        kb_w_kcstr(w, "message", c->message);
    if (c->reason[0])
        kb_w_kcstr(w, "reason", c->reason);
    kb_w_kcstr(w, "status", status_text(c));
    kb_w_kcstr(w, "type", "PodScheduled");
    kb_w_end(w);
}

static void write_conditions(struct kb_w *w, kb_val list, const struct kb_sched_condition *c)
{
    bool found = false;
    kb_w_karray(w, "conditions");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        if (is_ours(it.val))
            write_condition(w, it.val, c);
        else
            kb_w_raw(w, it.val);
        found |= is_ours(it.val);
    }
    if (!found)
        write_condition(w, (kb_val){0}, c);
    kb_w_end(w);
}

static void write_status(struct kb_w *w, kb_val status, const struct kb_sched_edit *edit)
{
    kb_w_kmap(w, "status");
    for (struct kb_iter it = kb_iter(status); kb_iter_next(&it);) {
        if ((edit->condition && kb_str_is(it.key, "conditions")) ||
            (edit->nominated && kb_str_is(it.key, "nominatedNodeName")))
            continue;
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    if (edit->nominated && edit->nominated[0])
        kb_w_kcstr(w, "nominatedNodeName", edit->nominated);
    if (edit->condition)
        write_conditions(w, kb_val_get(status, "conditions"), edit->condition);
    kb_w_end(w);
}

static void write_spec(struct kb_w *w, kb_val spec, const char *node)
{
    kb_w_kmap(w, "spec");
    for (struct kb_iter it = kb_iter(spec); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "nodeName"))
            continue;
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    kb_w_kcstr(w, "nodeName", node);
    kb_w_end(w);
}

static void write_annotations(struct kb_w *w, kb_val old, const struct kb_sched_edit *edit)
{
    kb_w_kmap(w, "annotations");
    for (struct kb_iter it = kb_iter(old); kb_iter_next(&it);) {
        bool ours = edit->gpus != 0 && kb_str_is(it.key, KB_GPU_INDEX);
        if (ours || kb_val_present(kb_val_getn(edit->annotations, it.key)))
            continue;
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    for (struct kb_iter it = kb_iter(edit->annotations); kb_iter_next(&it);) {
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    if (edit->gpus != 0) {
        char index[KB_GPU_INDEX_BYTES];
        kb_gpu_format(edit->gpus, index);
        kb_w_kcstr(w, KB_GPU_INDEX, index);
    }
    kb_w_end(w);
}

static void write_metadata(struct kb_w *w, kb_val metadata, const struct kb_sched_edit *edit)
{
    kb_w_kmap(w, "metadata");
    for (struct kb_iter it = kb_iter(metadata); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "annotations"))
            continue;
        kb_w_str(w, it.key);
        kb_w_raw(w, it.val);
    }
    write_annotations(w, kb_val_get(metadata, "annotations"), edit);
    kb_w_end(w);
}

struct kb_doc *kb__sched_pod(kb_val pod, const struct kb_sched_edit *edit)
{
    struct kb_w w = {0};
    bool annotates = edit->gpus != 0 || kb_val_present(edit->annotations);
    kb_w_map(&w);
    for (struct kb_iter it = kb_iter(pod); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "status"))
            continue;
        if (edit->node && kb_str_is(it.key, "spec")) {
            write_spec(&w, it.val, edit->node);
        } else if (annotates && kb_str_is(it.key, "metadata")) {
            write_metadata(&w, it.val, edit);
        } else {
            kb_w_str(&w, it.key);
            kb_w_raw(&w, it.val);
        }
    }
    write_status(&w, kb_val_get(pod, "status"), edit);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

struct kb_doc *kb__sched_disruption(kb_str uid, const char *scheduler, int64_t wall_us)
{
    struct kb_w w = {0};
    char now[KB_TIME_BYTES], text[256];
    kb_time_format(wall_us, now);
    snprintf(text, sizeof(text), "%s: preempting to accommodate a higher priority pod", scheduler);
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_kstr(&w, "uid", uid);
    kb_w_end(&w);
    kb_w_kmap(&w, "status");
    kb_w_karray(&w, "conditions");
    kb_w_map(&w);
    kb_w_kcstr(&w, "type", "DisruptionTarget");
    kb_w_kcstr(&w, "status", "True");
    kb_w_kcstr(&w, "reason", "PreemptionByScheduler");
    kb_w_kcstr(&w, "message", text);
    kb_w_kcstr(&w, "lastTransitionTime", now);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

static void write_involved(struct kb_w *w, const struct kb_sched_about *about)
{
    char rev[24];
    snprintf(rev, sizeof(rev), "%" PRId64, about->rev);
    kb_w_kmap(w, "involvedObject");
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", about->kind ? about->kind : "Pod");
    kb_w_kstr(w, "name", about->name);
    kb_w_kstr(w, "namespace", about->ns);
    kb_w_kcstr(w, "resourceVersion", rev);
    kb_w_kstr(w, "uid", about->uid);
    kb_w_end(w);
}

static void write_event_metadata(struct kb_w *w, const struct kb_sched_about *about)
{
    enum { SUFFIX = 17 };
    char name[KB_NAME_MAX_BYTES + 1];
    int most = (int)KB_NAME_MAX_BYTES - SUFFIX, n = (int)about->name.n;
    snprintf(name, sizeof(name), "%.*s.%016" PRIx64, n < most ? n : most, about->name.p,
             (uint64_t)about->wall_us * 1000 + about->serial % 1000);
    kb_w_kmap(w, "metadata");
    kb_w_kcstr(w, "name", name);
    kb_w_kstr(w, "namespace", about->ns);
    kb_w_end(w);
}

struct kb_doc *kb__sched_event(const struct kb_sched_about *about, const char *type,
                               const char *reason, const char *message)
{
    struct kb_w w = {0};
    char now[KB_TIME_BYTES];
    kb_time_format(about->wall_us, now);
    kb_w_map(&w);
    kb_w_kcstr(&w, "apiVersion", "v1");
    kb_w_kcstr(&w, "kind", "Event");
    write_event_metadata(&w, about);
    write_involved(&w, about);
    kb_w_kcstr(&w, "type", type);
    kb_w_kcstr(&w, "reason", reason);
    kb_w_kcstr(&w, "message", message);
    kb_w_kmap(&w, "source");
    kb_w_kcstr(&w, "component", "default-scheduler");
    kb_w_end(&w);
    kb_w_kcstr(&w, "firstTimestamp", now);
    kb_w_kcstr(&w, "lastTimestamp", now);
    kb_w_kint(&w, "count", 1);
    kb_w_kcstr(&w, "reportingComponent", "default-scheduler");
    kb_w_kcstr(&w, "reportingInstance", "");
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}
