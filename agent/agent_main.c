/* `kubus actor agent --data DIR --node NAME --runtime oci|process|hollow …` */
#include "agent/agent.h"
#include "bus/actor.h"
#include "bus/base/log.h"
#include "bus/base/str.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

KB_API int kb_module_main(int argc, char **argv);

enum { IMAGES_MAX = 64 };

struct flags {
    struct kb_agent_options agent;
    const char *cluster_cidr, *netns, *cluster_id;
    int64_t index;
    bool purge;
    const char *images[IMAGES_MAX];
    char cidr[24], ip[16], shown_name[80];
};

enum { TEXT, NUMBER, SWITCH, IMAGE };

#define FIELD(name) offsetof(struct flags, name)

static const struct {
    const char *name;
    int kind;
    size_t at;
    const char *help;
} table[] = {
    {"data", TEXT, FIELD(agent.data_dir), "the cluster's folder"},
    {"node", TEXT, FIELD(agent.node), "the node's name"},
    {"runtime", TEXT, FIELD(agent.runtime), "oci, process or hollow [oci]"},
    {"pod-cidr", TEXT, FIELD(cluster_cidr),
     "range of all pods [10.244.0.0/16]; each node has a /24 of it"},
    {"node-index", NUMBER, FIELD(index), "which /24 of the range is this node's [1]"},
    {"node-ip", TEXT, FIELD(agent.node_ip), "the node's address [found]"},
    {"netns", TEXT, FIELD(netns), "network namespace to live in; made when it does not exist"},
    {"cluster-id", TEXT, FIELD(cluster_id), "keeps clusters on one machine apart"},
    {"bridge", TEXT, FIELD(agent.bridge), "name of the pods' bridge [made from the folder]"},
    {"cgroup", TEXT, FIELD(agent.cgroup), "parent of the pods' groups [made from the folder]"},
    {"cni-conf-dir", TEXT, FIELD(agent.cni_dir), "networks by CNI plugins"},
    {"shim", TEXT, FIELD(agent.shim), "the program kubus-shim [beside the program]"},
    {"oci-runtime", TEXT, FIELD(agent.oci_path), "path of crun or runc [found]"},
    {"cluster-dns", TEXT, FIELD(agent.cluster_dns), "name server of pods [the node's]"},
    {"cluster-domain", TEXT, FIELD(agent.cluster_domain), "[cluster.local]"},
    {"image", IMAGE, 0, "load this archive or layout at start: FILE or NAME=FILE"},
    {"log-max-bytes", NUMBER, FIELD(agent.log_max_bytes),
     "size at which a log is rotated [10485760]"},
    {"hollow-nodes", NUMBER, FIELD(agent.hollow_nodes), "simulate so many nodes: NAME-0, NAME-1 …"},
    {"hollow-start-ms", NUMBER, FIELD(agent.hollow_start_ms), "[0]"},
    {"hollow-stop-ms", NUMBER, FIELD(agent.hollow_stop_ms), "[0]"},
    {"hollow-events", SWITCH, FIELD(agent.hollow_events), "hollow pods tell events"},
    {"purge", SWITCH, FIELD(purge), "remove all of the node from this machine, and end"},
};

static void usage(void)
{
    fprintf(stderr, "usage: kubus actor agent --data DIR --node NAME [options]\n");
    for (size_t i = 0; i < KB_COUNT(table); i++)
        fprintf(stderr, "  --%-18s %s\n", table[i].name, table[i].help);
}

static bool take(struct flags *flags, size_t at, const char *value)
{
    char *field = (char *)flags + table[at].at;
    switch (table[at].kind) {
    case TEXT:
        memcpy(field, &value, sizeof value);
        return true;
    case NUMBER: {
        int64_t number;
        if (!kb_str_i64(kb_str_of(value), &number) || number < 0)
            return false;
        memcpy(field, &number, sizeof number);
        return true;
    }
    case SWITCH:
        *(bool *)field = true;
        return true;
    default:
        if (flags->agent.n_images == IMAGES_MAX)
            return false;
        flags->images[flags->agent.n_images++] = value;
        return true;
    }
}

static int parse(int argc, char **argv, struct flags *flags)
{
    struct option options[KB_COUNT(table) + 1] = {{0}};
    int c, at = 0;
    for (size_t i = 0; i < KB_COUNT(table); i++)
        options[i] = (struct option){
            table[i].name, table[i].kind == SWITCH ? no_argument : required_argument, NULL, 'x'};
    while ((c = getopt_long(argc, argv, "", options, &at)) != -1)
        if (c != 'x' || !take(flags, (size_t)at, optarg))
            return -1;
    return flags->agent.data_dir && flags->agent.node && optind == argc ? 0 : -1;
}

/* The node's /24 of the cluster's range; a range of /24 or less is taken as it is. */
static int node_cidr(struct flags *flags)
{
    char address[32];
    struct in_addr in;
    int64_t bits;
    kb_str rest = kb_str_of(flags->cluster_cidr);
    if (!kb_str_copy(kb_str_cut(&rest, '/'), address, sizeof address) ||
        inet_pton(AF_INET, address, &in) != 1 || !kb_str_i64(rest, &bits) || bits < 1 || bits > 30)
        return -1;
    uint32_t ip = ntohl(in.s_addr) & ~(UINT32_MAX >> bits);
    if (bits < 24)
        ip += (uint32_t)flags->index << 8;
    snprintf(flags->cidr, sizeof flags->cidr, "%u.%u.%u.%u/%d", ip >> 24, ip >> 16 & 255,
             ip >> 8 & 255, ip & 255, bits < 24 ? 24 : (int)bits);
    flags->agent.pod_cidr = flags->cidr;
    return 0;
}

static int run(struct flags *flags, struct kb_err *err)
{
    KB_AUTO(kb_actor_destroy) struct kb_actor *actor = NULL;
    KB_AUTO(kb_agent_destroy) struct kb_agent *agent = NULL;
    struct kb_actor_config config = {.name = flags->shown_name, .data_dir = flags->agent.data_dir};
    if (kb_actor_new(&config, &actor, err) < 0 ||
        kb_agent_new(actor, &flags->agent, &agent, err) < 0)
        return -err->code;
    kb_actor_ready(actor);
    return kb_actor_run(actor, err);
}

static int main_with(struct flags *flags, struct kb_err *err)
{
    struct kb_node_net net = {flags->netns, (unsigned)flags->index, flags->cluster_id,
                              flags->agent.pod_cidr};
    if (flags->netns != NULL) {
        if (kb_node_net_enter(&net, flags->ip, err) < 0)
            return -err->code;
        if (flags->agent.node_ip == NULL && flags->ip[0])
            flags->agent.node_ip = flags->ip;
    }
    if (!flags->purge)
        return run(flags, err);
    if (kb_agent_purge(&flags->agent, err) < 0)
        return -err->code;
    return flags->netns != NULL ? kb_node_net_remove(&net, err) : 0;
}

int kb_module_main(int argc, char **argv)
{
    struct flags flags = {
        .agent = {.runtime = "oci", .log_max_bytes = 10 << 20, .log_max_files = 5},
        .cluster_cidr = "10.244.0.0/16",
        .index = 1};
    struct kb_err err = {0};
    flags.agent.images = flags.images;
    if (parse(argc, argv, &flags) < 0 || node_cidr(&flags) < 0) {
        usage();
        return 2;
    }
    snprintf(flags.shown_name, sizeof flags.shown_name, "agent/%s", flags.agent.node);
    kb_log_init(flags.shown_name);
    if (main_with(&flags, &err) < 0) {
        kb_error("%s", err.text);
        return 1;
    }
    return 0;
}
