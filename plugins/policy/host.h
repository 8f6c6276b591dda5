/* <kubus/policy/host.h>: what a policy may ask for. */
#ifndef KUBUS_POLICY_HOST_H
#define KUBUS_POLICY_HOST_H

#include <kubus/policy/arguments.h>
#include <kubus/policy/cluster.h>
#include <kubus/policy/lifecycle.h>
#include <kubus/policy/nodes.h>
#include <kubus/policy/outside.h>
#include <kubus/policy/volumes.h>
#include <kubus/policy/workload.h>

#include <stdbool.h>
#include <stdint.h>

struct kb_policy_cycle;

/* What a policy may ask for. All functions are cheap; none may be kept past the policy's life. */
struct kb_policy_host {
    uint32_t size;
    void *core;
    const char *(*text)(void *core, uint32_t id); /* valid for the life of the core; "" for 0 */
    uint32_t (*intern)(void *core, const char *text);
    /* An interned text as an integer; false when it is none. */
    bool (*number)(void *core, uint32_t id, int64_t *ret);
    /* The column of a label: [slot] the value, 0 where the node has no such label. Built when first
     * asked for, then kept up to date. Valid until the next call of `label`. */
    const uint32_t *(*label)(void *core, uint32_t key);
    /* Who holds this host port, on any node and address; and what is taken on one node. Valid until
     * the call ends. */
    uint32_t (*port_uses)(void *core, uint16_t port, uint16_t protocol,
                          const struct kb_policy_port_use **ret_uses);
    uint32_t (*node_ports)(void *core, uint32_t node, const struct kb_policy_port **ret_ports);
    uint32_t (*resource)(void *core, const char *name); /* index of its columns, made if new */
    const char *(*resource_name)(void *core, uint32_t resource);
    /* What pods come, valid until its version changes; and a number below `bound` (> 0) from the
     * seeded generator: for assign, not for verdicts and scores, which must be repeatable. */
    const struct kb_policy_workload *(*workload)(void *core);
    uint32_t (*random)(void *core, uint32_t bound);
    const struct kb_policy_lifecycle *lifecycle;

    /* ---- pods of the cluster ---- */

    /* hit[i] for the node in slot from + i: all requirements hold. */
    void (*match)(void *core, const struct kb_policy_requirement *all, uint32_t n, uint32_t from,
                  uint32_t to, uint8_t *hit);
    /* Domains of a label; valid until the next call of `domains`. */
    const struct kb_policy_domains *(*domains)(void *core, uint32_t topology_key);
    /* Count the pods that all of these mean; `ending`: those that are being deleted as well. The
     * count is shared, and kept until count_end has been called as often. Counting anew costs all
     * kinds of pods in the cluster, to keep it up to date nearly nothing. */
    const struct kb_policy_count *(*count)(void *core, const struct kb_policy_pods_selector *all,
                                           uint32_t n, bool ending);
    void (*count_end)(void *core, const struct kb_policy_count *count);
    /* Valid until the next call of `tally` or `domains`. */
    const struct kb_policy_tally *(*tally)(void *core, const struct kb_policy_count *count,
                                           uint32_t topology_key);
    bool (*selects)(void *core, const struct kb_policy_pods_selector *pods,
                    const struct kb_policy_pod *pod);
    /* Valid until versions->carried changes. */
    uint32_t (*carried)(void *core, const struct kb_policy_pod *pod,
                        const struct kb_policy_carried **ret_terms);
    /* The pods that the services and the controller of this pod mean; false: there are none. Valid
     * until the next call of it. */
    bool (*default_spread)(void *core, const struct kb_policy_pod *pod,
                           struct kb_policy_pods_selector *ret_pods);
    const struct kb_policy_versions *(*versions)(void *core);
    /* Who holds an image. Valid until the call ends. */
    uint32_t (*image)(void *core, uint32_t name, const struct kb_policy_image **ret_nodes);
    const struct kb_policy_storage *storage;

    /* ---- arguments ---- */

    /* What stands at a path ("resources[0].name") of the JSON text that `configure` was given;
     * false, and NONE: nothing does. Reads the text anew each time. */
    bool (*arg)(void *core, const char *args, const char *path, struct kb_policy_arg *ret);
    /* A list of node selector terms at a path, or of preferred ones. They live as long as the core.
     * false: there is none. */
    bool (*arg_terms)(void *core, const char *args, const char *path, bool preferred,
                      uint32_t *ret_n, const struct kb_policy_term **ret_terms);

    /* ---- outside ---- */

    /* What a service says of this pod's kind, as of its last answer; NULL: it is asked, and
     * pre_filter returns WAIT. Valid until the next call. */
    const struct kb_policy_outside *(*outside)(struct kb_policy_cycle *cycle,
                                               const struct kb_policy_want *want);
};

#endif
