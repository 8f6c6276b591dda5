/* The plan of a cluster: which actors kubusd shall run, with which arguments. Made by `kubus up`
 * from its options, kept as DATA/cluster.json, read by kubusd. */
#ifndef KUBUS_CLI_PLAN_H
#define KUBUS_CLI_PLAN_H

#include "bus/base/err.h"
#include "bus/model/node.h"

struct kb_plan_options {
    const char *listen;       /* "127.0.0.1:6443" */
    const char *runtime;      /* "oci", "process", "hollow" */
    const char *pod_cidr;     /* "10.244.0.0/16": nodes take /24s of it */
    const char *service_cidr; /* "10.96.0.0/16" */
    const char *cluster_id;   /* 8 hex digits: names of bridges, cgroups … on this machine */
    int64_t nodes;            /* real ones */
    int64_t hollow_nodes;
    int64_t history_s;  /* how long the store keeps old versions; 0: for good */
    const char *record; /* absolute path of what the scheduler writes down; NULL: nothing */
    int64_t schedulers;
    const char *const *images; /* archives to load at start */
    size_t images_count;
    const char *const *controllers; /* names of controller plugins */
    size_t controllers_count;
};

/* Check the options; -KB_EINVAL with a text for the user. */
int kb_plan_check(const struct kb_plan_options *options, struct kb_err *err);
/* The plan as a tree in `a`. Pure; the options must have been checked. */
struct kb_node *kb_plan_make(struct kb_arena *a, const struct kb_plan_options *options);
/* The id of the cluster whose data lies in `data_dir`: 8 hex digits and a NUL. */
void kb_plan_cluster_id(const char *data_dir, char out[9]);
/* Whether two "A.B.C.D/N" overlap; false for what cannot be read. */
bool kb_plan_cidr_overlaps(const char *a, const char *b);

#endif
