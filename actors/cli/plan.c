#include "actors/cli/plan.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX = 200, HOLLOW_MAX = 1000000, SCHEDULERS_MAX = 32 };

static bool cidr_parse(const char *text, uint32_t *ret_address, int *ret_bits)
{
    char address[INET_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    struct in_addr parsed;
    int64_t bits;
    if (!slash || !kb_str_copy(kb_str_n(text, (size_t)(slash - text)), address, sizeof(address)) ||
        inet_pton(AF_INET, address, &parsed) != 1 || !kb_str_i64(kb_str_of(slash + 1), &bits) ||
        bits < 0 || bits > 32)
        return false;
    *ret_address = ntohl(parsed.s_addr);
    *ret_bits = (int)bits;
    return true;
}

bool kb_plan_cidr_overlaps(const char *a, const char *b)
{
    uint32_t x, y;
    int m, n;
    if (!cidr_parse(a, &x, &m) || !cidr_parse(b, &y, &n))
        return false;
    int bits = m < n ? m : n;
    return bits == 0 || ((x ^ y) >> (32 - bits)) == 0;
}

static int check_listen(const char *listen, struct kb_err *err)
{
    const char *colon = strrchr(listen, ':');
    int64_t port;
    if (colon == NULL || colon == listen || !kb_str_i64(kb_str_of(colon + 1), &port) || port < 1 ||
        port > 65535)
        return kb_err_set(err, KB_EINVAL, "--listen takes ADDRESS:PORT, not '%s'", listen);
    return 0;
}

static int check_cidr(const char *option, const char *cidr, int most_bits, struct kb_err *err)
{
    uint32_t address;
    int bits;
    if (!cidr_parse(cidr, &address, &bits) || bits > most_bits)
        return kb_err_set(err, KB_EINVAL, "--%s takes an IPv4 range of /%d or more, not '%s'",
                          option, most_bits, cidr);
    return 0;
}

int kb_plan_check(const struct kb_plan_options *o, struct kb_err *err)
{
    static const char *const runtimes[] = {"oci", "process", "hollow"};
    bool known = false;
    for (size_t i = 0; i < KB_COUNT(runtimes); i++)
        known |= strcmp(o->runtime, runtimes[i]) == 0;
    if (!known)
        return kb_err_set(err, KB_EINVAL, "--runtime is oci, process or hollow, not '%s'",
                          o->runtime);
    if (o->nodes < 0 || o->nodes > NODES_MAX)
        return kb_err_set(err, KB_EINVAL, "--nodes takes 0 to %d", NODES_MAX);
    if (o->hollow_nodes < 0 || o->hollow_nodes > HOLLOW_MAX)
        return kb_err_set(err, KB_EINVAL, "--hollow-nodes takes 0 to %d", HOLLOW_MAX);
    if (o->schedulers < 1 || o->schedulers > SCHEDULERS_MAX)
        return kb_err_set(err, KB_EINVAL, "--schedulers takes 1 to %d", SCHEDULERS_MAX);
    if (check_listen(o->listen, err) < 0 || check_cidr("pod-cidr", o->pod_cidr, 16, err) < 0 ||
        check_cidr("service-cidr", o->service_cidr, 24, err) < 0)
        return -err->code;
    if (kb_plan_cidr_overlaps(o->pod_cidr, o->service_cidr))
        return kb_err_set(err, KB_EINVAL, "--pod-cidr and --service-cidr overlap");
    return 0;
}

void kb_plan_cluster_id(const char *data_dir, char out[9])
{
    snprintf(out, 9, "%08" PRIx32, (uint32_t)kb_hash64(data_dir, strlen(data_dir)));
}

/* An actor of the plan; further arguments are appended to what is returned. */
static struct kb_node *add_actor(struct kb_arena *a, struct kb_node *actors, const char *name,
                                 const char *kind)
{
    struct kb_node *actor = kb_node_map(a), *argv = kb_node_array(a);
    kb_node_put(a, actor, "name", kb_node_cstr(a, name));
    kb_node_put(a, actor, "argv", argv);
    kb_node_append(a, argv, kb_node_cstr(a, "actor"));
    kb_node_append(a, argv, kb_node_cstr(a, kind));
    kb_node_append(a, actors, actor);
    return argv;
}

static void add_option(struct kb_arena *a, struct kb_node *argv, const char *name,
                       const char *value)
{
    kb_node_append(a, argv, kb_node_cstr(a, name));
    kb_node_append(a, argv, kb_node_cstr(a, value));
}

static struct kb_node *add_agent(struct kb_arena *a, struct kb_node *actors, const char *name,
                                 const char *node, const char *runtime,
                                 const struct kb_plan_options *o)
{
    struct kb_node *argv = add_actor(a, actors, name, "agent");
    add_option(a, argv, "--node", node);
    add_option(a, argv, "--runtime", runtime);
    add_option(a, argv, "--pod-cidr", o->pod_cidr);
    add_option(a, argv, "--cluster-id", o->cluster_id);
    for (size_t i = 0; i < o->images_count; i++)
        add_option(a, argv, "--image", o->images[i]);
    return argv;
}

static void add_agents(struct kb_arena *a, struct kb_node *actors, const struct kb_plan_options *o)
{
    bool hollow = strcmp(o->runtime, "hollow") == 0;
    int64_t hollow_nodes = o->hollow_nodes + (hollow ? o->nodes : 0);
    for (int64_t k = 1; !hollow && k <= o->nodes; k++) {
        char node[32], name[48], number[24], netns[48];
        snprintf(node, sizeof(node), "node-%" PRId64, k);
        snprintf(name, sizeof(name), "agent/%s", node);
        snprintf(number, sizeof(number), "%" PRId64, k);
        struct kb_node *argv = add_agent(a, actors, name, node, o->runtime, o);
        add_option(a, argv, "--node-index", number);
        if (k > 1) { /* the first node is the machine itself, the others are namespaces */
            snprintf(netns, sizeof(netns), "kubus-%s-%s", o->cluster_id, node);
            add_option(a, argv, "--netns", netns);
        }
    }
    if (hollow_nodes > 0) {
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, hollow_nodes);
        struct kb_node *argv = add_agent(a, actors, "agent/hollow", "hollow", "hollow", o);
        add_option(a, argv, "--hollow-nodes", number);
    }
}

/* One is called "scheduler"; of several each has its share of the pods. */
static void add_schedulers(struct kb_arena *a, struct kb_node *actors,
                           const struct kb_plan_options *o)
{
    int64_t n = o->schedulers;
    for (int64_t i = 0; i < n; i++) {
        char name[32], share[48], other[PATH_MAX];
        snprintf(other, sizeof(other), "%s.%" PRId64, o->record ? o->record : "", i + 1);
        snprintf(name, sizeof(name), i ? "scheduler-%" PRId64 : "scheduler", i + 1);
        snprintf(share, sizeof(share), "%" PRId64 "/%" PRId64, i, n);
        struct kb_node *argv = add_actor(a, actors, name, "scheduler");
        if (i > 0)
            add_option(a, argv, "--name", name);
        if (n > 1)
            add_option(a, argv, "--share", share);
        if (o->record)
            add_option(a, argv, "--record", i ? other : o->record);
    }
}

struct kb_node *kb_plan_make(struct kb_arena *a, const struct kb_plan_options *o)
{
    struct kb_node *plan = kb_node_map(a), *actors = kb_node_array(a);
    kb_node_set_int(a, plan, "version", 1);
    kb_node_set_cstr(a, plan, "listen", o->listen);
    kb_node_set_cstr(a, plan, "clusterID", o->cluster_id);
    kb_node_set_cstr(a, plan, "podCIDR", o->pod_cidr);
    kb_node_set_cstr(a, plan, "serviceCIDR", o->service_cidr);
    kb_node_put(a, plan, "actors", actors);
    char history[24];
    snprintf(history, sizeof(history), "%" PRId64, o->history_s);
    add_option(a, add_actor(a, actors, "store", "store"), "--history-s", history);
    struct kb_node *api = add_actor(a, actors, "api", "api");
    add_option(a, api, "--listen", o->listen);
    add_option(a, api, "--service-cidr", o->service_cidr);
    add_schedulers(a, actors, o);
    for (size_t i = 0; i < o->controllers_count; i++)
        add_option(a, add_actor(a, actors, o->controllers[i], "controller"), "--plugin",
                   o->controllers[i]);
    add_agents(a, actors, o);
    return plan;
}
