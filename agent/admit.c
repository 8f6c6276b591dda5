#include "agent/admit.h"

#include "bus/model/placement.h"
#include "bus/model/quantity.h"
#include "bus/model/requests.h"
#include "bus/model/schema.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[KB_AMOUNTS] = {"pods", "cpu", "memory", "ephemeral-storage"};

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

void kb_admit_add(struct kb_amounts *to, const struct kb_amounts *more)
{
    for (int i = 0; i < KB_AMOUNTS; i++)
        to->of[i] = add(to->of[i], more->of[i]);
}

struct kb_amounts kb_admit_requests(kb_val pod)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_requests requests = kb_requests_of(kb_val_get(pod, "spec"), NULL, &arena);
    struct kb_amounts total;
    for (int i = 0; i < KB_AMOUNTS; i++)
        total.of[i] = kb_requests_amount(&requests, names[i]);
    total.of[KB_AMOUNT_PODS] = 1;
    return total;
}

struct kb_amounts kb_admit_allocatable(kb_val node)
{
    kb_val list = kb_val_at(node, "status.allocatable");
    struct kb_amounts all;
    for (int i = 0; i < KB_AMOUNTS; i++)
        all.of[i] = kb_val_amount(kb_val_get(list, names[i]), kb_str_of(names[i]), INT64_MAX);
    return all;
}

bool kb_admit_fits(const struct kb_amounts *pod, const struct kb_amounts *used,
                   const struct kb_amounts *allocatable, struct kb_refusal *ret)
{
    for (int i = 0; i < KB_AMOUNTS; i++) {
        int64_t wanted = pod->of[i];
        if (wanted == 0 || add(used->of[i], wanted) <= allocatable->of[i])
            continue;
        snprintf(ret->reason, sizeof ret->reason, "OutOf%s", names[i]);
        snprintf(ret->message, sizeof ret->message,
                 "Node didn't have enough resource: %s, requested: %" PRId64 ", used: %" PRId64
                 ", capacity: %" PRId64,
                 names[i], wanted, used->of[i], allocatable->of[i]);
        return false;
    }
    return true;
}

/* ---- what the Node says ---- */

struct kb_doc *kb_admit_node(kb_val node)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_kraw(&w, "name", kb_val_at(node, "metadata.name"));
    kb_w_kraw(&w, "labels", kb_val_at(node, "metadata.labels"));
    kb_w_end(&w);
    kb_w_kmap(&w, "spec");
    kb_w_kraw(&w, "taints", kb_val_at(node, "spec.taints"));
    kb_w_end(&w);
    kb_w_end(&w);
    return kb_w_doc(&w);
}

bool kb_admit_affinity(kb_val pod, kb_val node, struct kb_refusal *ret)
{
    if (kb_node_affinity_match(kb_val_get(pod, "spec"), node))
        return true;
    *ret = (struct kb_refusal){
        "NodeAffinity",
        "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
    return false;
}

bool kb_admit_taints(kb_val pod, kb_val node, struct kb_refusal *ret)
{
    if (kb_taint_untolerated(kb_val_at(node, "spec.taints"), "NoExecute",
                             kb_val_at(pod, "spec.tolerations"))
            .p == NULL)
        return true;
    *ret = (struct kb_refusal){
        "TaintToleration",
        "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"};
    return false;
}

/* ---- host ports ---- */

bool kb_admit_ports_clash(kb_val pod, kb_val other)
{
    kb_val theirs = kb_val_get(other, "spec");
    struct kb_host_port want, taken;
    for (struct kb_host_ports it = kb_host_ports(kb_val_get(pod, "spec"));
         kb_host_port_next(&it, &want);)
        for (struct kb_host_ports at = kb_host_ports(theirs); kb_host_port_next(&at, &taken);)
            if (kb_host_port_clash(&want, &taken))
                return true;
    return false;
}

void kb_admit_refuse_ports(struct kb_refusal *ret)
{
    *ret = (struct kb_refusal){
        "NodePorts",
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"};
}

/* ---- names ---- */

enum { NAMES_MAX = 1000, UID_MAX_BYTES = 63 };

bool kb_admit_uid(kb_str uid)
{
    for (size_t i = 0; i < uid.n; i++) {
        char c = uid.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || (c == '.' && i > 0);
        if (!plain)
            return false;
    }
    return uid.n > 0 && uid.n <= UID_MAX_BYTES;
}

bool kb_admit_container_name(kb_str name)
{
    return kb_format_check("dns1123-label", name) == NULL;
}

/* Is the name good, and in none of the lists before this place? */
static bool is_first(const kb_val *lists, size_t n, kb_str name)
{
    size_t seen = 0;
    for (size_t k = 0; k < n; k++)
        for (struct kb_iter it = kb_iter(lists[k]); kb_iter_next(&it);)
            seen += kb_str_eq(kb_val_str(kb_val_get(it.val, "name")), name);
    return seen == 1;
}

static bool names_are_good(const kb_val *lists, size_t n)
{
    size_t count = 0;
    for (size_t k = 0; k < n; k++)
        for (struct kb_iter it = kb_iter(lists[k]); kb_iter_next(&it);) {
            kb_str name = kb_val_str(kb_val_get(it.val, "name"));
            if (++count > NAMES_MAX || !kb_admit_container_name(name) || !is_first(lists, n, name))
                return false;
        }
    return true;
}

bool kb_admit_names(kb_val pod, struct kb_refusal *ret)
{
    kb_val spec = kb_val_get(pod, "spec"), volumes = kb_val_get(spec, "volumes");
    kb_val containers[] = {kb_val_get(spec, "initContainers"), kb_val_get(spec, "containers"),
                           kb_val_get(spec, "ephemeralContainers")};
    if (names_are_good(containers, KB_COUNT(containers)) && names_are_good(&volumes, 1))
        return true;
    *ret = (struct kb_refusal){"UnexpectedAdmissionError",
                               "a name of a container or a volume is malformed, or stands twice"};
    return false;
}
