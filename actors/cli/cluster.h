/* A cluster on this machine, seen from the command line: where its files are, whether it runs. */
#ifndef KUBUS_CLI_CLUSTER_H
#define KUBUS_CLI_CLUSTER_H

#include "bus/base/err.h"
#include "bus/model/node.h"

#include <sys/types.h>

/* DATA/NAME. Caller frees. */
char *kb_cluster_path(const char *data_dir, const char *name);
/* Whether this cluster has a kubusd, or a guardian that will start it again in a moment. */
bool kb_cluster_runs(const char *data_dir);
/* The process that is kubusd now; 0 when there is none at this moment, -1: one that cannot be seen.
 */
int kb_cluster_kernel(const char *data_dir);
/* Whether an actor of the plan lives: also one whose kubusd and guardian were killed. */
bool kb_cluster_left(const char *data_dir, const struct kb_node *plan);
/* The plan of the last `kubus up`, decoded into `a`. -KB_ENOTFOUND when there was none. */
int kb_cluster_plan(const char *data_dir, struct kb_arena *a, struct kb_node **ret_plan,
                    struct kb_err *err);
/* Start kubusd, in a session of its own; its output goes to DATA/logs/kernel.log. */
int kb_cluster_spawn(const char *data_dir, pid_t *ret_pid, struct kb_err *err);
/* The program's arguments run to their end, as `kubus ARGV…`; returns its exit code, or < 0. */
int kb_cluster_run(const char *const *argv, struct kb_err *err);
/* A TCP port that is free on `host` and that no outgoing connection of this machine will take
 * meanwhile. 0: none is. */
int kb_cluster_free_port(kb_str host);
/* A range of pod addresses that no route of this machine uses: "10.244.0.0/16" or one above it. */
void kb_cluster_free_cidr(char out[32]);

#endif
