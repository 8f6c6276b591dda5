/* What test_affinity.c is about: random clusters as plain structs, and as the objects that the core
 * is told. */
#ifndef KUBUS_TESTS_PROP_AFFINITY_WORLD_H
#define KUBUS_TESTS_PROP_AFFINITY_WORLD_H

#include "bus/base/buf.h"
#include "bus/base/rand.h"

enum { NODES = 14, PODS = 60, TEMPLATES = 14, SPACES = 3, SERVICES = 2 };
enum { LABELS = 3, VALUES = 3, KEYS = 3, HOST = 1 };

/* Of node labels. */
extern const char *const affinity_keys[KEYS];

struct need {
    int label, op, values; /* op: In, NotIn, Exists, DoesNotExist; values: a set */
};

struct sel {
    bool none;
    int n;
    struct need all[2];
};

struct term {
    struct sel labels, like;
    int spaces; /* a set */
    int key, weight, match, mismatch;
};

struct spread {
    struct sel labels;
    int key, skew, min_domains, match;
    bool hard, ignore_affinity, honor_taints;
};

struct template
{
    int space, label[LABELS]; /* -1: none */
    int near_n, far_n, like_n, dislike_n, spread_n;
    struct term near[2], far[2], like[2], dislike[2];
    struct spread spread[2];
    int zone; /* node selector, -1: none */
    bool tolerates, owned;
    char *json, *ending_json;
};

struct node {
    bool there, tainted;
    int value[KEYS]; /* -1: none */
};

struct pod {
    bool there, ending;
    int template, node;
};

struct space {
    bool there;
    int label[LABELS];
};

struct service {
    bool there;
    int label[LABELS];
};

struct world {
    struct kb_rand rand;
    int hard_weight;
    struct node nodes[NODES];
    struct template templates[TEMPLATES];
    struct pod pods[PODS];
    struct space spaces[SPACES];
    struct service services[SPACES][SERVICES];
};

/* A number below n; from -1 on. */
int affinity_pick(struct world *w, int n);
int affinity_maybe(struct world *w, int n);
void affinity_random_template(struct world *w, struct template *t); /* but for its JSON */

/* JSON with ' for ". The pod of a template lives as long as the test. */
char *affinity_template_json(const struct template *t, bool ending);
void affinity_labels_json(struct kb_buf *b, const int label[LABELS]);

#endif
