/* What test_scores.c is about: random clusters and arguments as plain structs, and as the objects
 * that the core is told. */
#ifndef KUBUS_TESTS_PROP_SCORES_WORLD_H
#define KUBUS_TESTS_PROP_SCORES_WORLD_H

#include "actors/scheduler/core/core.h"
#include "bus/base/buf.h"
#include "bus/base/rand.h"

#include <inttypes.h>

enum { NODES = 12, PODS = 50, TEMPLATES = 8, LABELS = 2, IMAGES = 5 };
enum { CPU, MEMORY, EPHEMERAL, HUGE, GPU, NIC, OTHER_GPU, AMOUNTS, POD_COUNT = AMOUNTS, NAMES };
enum { LEAST, MOST, RATIO };
enum { IN, NOT_IN, EXISTS, DOES_NOT_EXIST, GREATER, LESS };

struct need {
    int label, op, values; /* a set; GREATER and LESS: than values % 3 */
};

struct term {
    int n, weight, nodes; /* nodes: a set of names, 0: none stated */
    struct need all[2];
};

struct template
{
    int containers; /* the last of the three is an init container, when there is one */
    bool init;
    int64_t want[3][AMOUNTS]; /* -1: not stated */
    int image[3];             /* -1: one that no node holds */
    int selector;             /* l0, -1: none */
    int required_n, preferred_n;
    struct term required[2], preferred[2];
    char *json;
};

struct node {
    bool there;
    int64_t has[AMOUNTS], pods; /* -1: not stated */
    int label[LABELS], images;  /* label -1: none; images: a set */
};

struct pod {
    bool there;
    int template, node;
};

struct args {
    int strategy, weight, n, resource[4], weights[4]; /* n 0: the default */
    int points, at[5], score[5];
    int ignored, groups; /* sets of names; of x.io, y.io */
    int balanced_n, balanced[4];
    int required_n, preferred_n;
    struct term required[2], preferred[2];
};

struct world {
    struct kb_rand rand;
    struct args args;
    int64_t bytes[IMAGES];
    struct node nodes[NODES];
    struct template templates[TEMPLATES];
    struct pod pods[PODS];
};

/* By the enum above. */
extern const char *const scores_names[NAMES];

int scores_pick(struct world *w, int n);
void scores_random_template(struct world *w, struct template *t); /* but for its JSON */
void scores_random_args(struct world *w, struct args *a);
void scores_random_node(struct world *w, struct node *n);

/* JSON with ' for ". The pod of a template is the caller's to free. */
char *scores_template_json(const struct template *t);
void scores_node_json(struct kb_buf *b, const struct world *w, const struct node *n);
/* Arguments: of NodeResourcesFit, of NodeResourcesBalancedAllocation; a nodeAffinity. */
void scores_fit_json(struct kb_buf *b, const struct args *a);
void scores_balanced_json(struct kb_buf *b, const struct args *a);
void scores_affinity_json(struct kb_buf *b, const struct term *required, int required_n,
                          const struct term *preferred, int preferred_n);

#endif
