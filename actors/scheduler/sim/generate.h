/* A trace of our own making, for first steps, tests and benchmarks: a cluster of GPU nodes of a few
 * models, and pods of which many ask for a share of a GPU, some for several, some for none. What is
 * typical of such clusters is imitated, and nothing is copied. Equal seeds give equal traces. */
#ifndef KUBUS_SCHEDULER_SIM_GENERATE_H
#define KUBUS_SCHEDULER_SIM_GENERATE_H

#include "bus/base/buf.h"

/* Append the two files, as CSV. The pods come at such a pace that they would keep about nine tenths
 * of the GPUs busy. */
void kb_sim_generate(uint64_t seed, uint32_t nodes, uint32_t pods, struct kb_buf *ret_nodes,
                     struct kb_buf *ret_pods);

#endif
