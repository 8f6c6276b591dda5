/* Topology domains: the values of a node label as small, dense numbers, for tables by domain.
 *
 * Made from the label's column when first asked for, and again when labels of nodes changed since;
 * the version changes only when the result did. The least recently used makes room, since pods
 * choose what keys they name. */
#ifndef KUBUS_SCHEDULER_DOMAINS_H
#define KUBUS_SCHEDULER_DOMAINS_H

#include "plugins/policy.h"

enum { KB_DOMAIN_KEYS = 64 };

struct kb_domain_tables {
    struct kb_domain_table {
        struct kb_policy_domains view;
        uint32_t key; /* 0: free */
        uint32_t cap;
        uint32_t *of, *value, *nodes;
        uint64_t labels, used; /* version of the labels that it was made from; last use */
    } at[KB_DOMAIN_KEYS];
    uint64_t uses, versions;
};

void kb_domains_finish(struct kb_domain_tables *d);
/* The domains of `key`. `column` has the label's values for `count` slots of `cap`; `labels` is the
 * version of all labels. O(1), O(cap) after a change. */
const struct kb_policy_domains *kb_domains_get(struct kb_domain_tables *d, uint32_t key,
                                               const uint32_t *column, uint32_t count, uint32_t cap,
                                               uint64_t labels);
/* The same when nothing changed, without the column; NULL: ask with it. */
const struct kb_policy_domains *kb_domains_known(struct kb_domain_tables *d, uint32_t key,
                                                 uint32_t cap, uint64_t labels);

#endif
