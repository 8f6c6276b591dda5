/* MinCostFlow: pods of a batch are placed together, as a flow of least cost (Quincy, Isard et al.,
 * SOSP '09; Firmament, Gog et al., OSDI '16).
 *
 *              left out (dear)
 *            /                 \
 *     pods of a kind -- cost --> node -- load --> sink
 *
 * A pod is a unit of flow from its kind. An arc leads from a kind to each node that all filters of
 * the profile let it onto, as often as such a pod fits there; it costs what the node's score lacks
 * of the best. From a node to the sink each further unit costs `loadCost` (10) more than the one
 * before: what makes a node worse as it fills, which scores can only say of the state before the
 * batch. To leave a pod out costs more than all ways to nodes together, and more the more
 * important it is and the longer it waits. Where
 * decisions one by one take the best node for the first pod and leave a bad one for the next, a
 * flow of least cost finds what is best for all of them together.
 *
 * Solved by successive shortest paths with potentials (Edmonds and Karp 1972; Ahuja, Magnanti and
 * Orlin, "Network Flows", chapter 9): each pod is one search of Dijkstra over kinds and nodes,
 * which ends at the first way to the sink. Costs are convex, so units are sent one at a time. A
 * node's capacities for different kinds are not one number: what does not fit together any more is
 * found when the pod's turn comes, and the pod then goes to the best node as ever.
 *
 * Arguments: {"loadCost": 10} */
#include <kubus/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = -1, PODS = 256, WAITED_MOST = 1000 };

struct heap_entry {
    int64_t distance;
    int at;
};

/* Vertices: kinds 0 … K-1, then nodes K … K+N-1. The sink and the way past all nodes are not
 * vertices: they end a search. */
struct network {
    int kinds, nodes;
    uint32_t *slot;    /* [node] */
    int64_t *cost;     /* [kind * nodes + node] */
    uint16_t *room;    /* [kind * nodes + node] units that still may go this way */
    uint16_t *flow;    /* [kind * nodes + node] */
    int64_t *left_out; /* [kind] cost */
    uint16_t *load;    /* [node] units to the sink */
    uint16_t *most;    /* [node] */
    int64_t load_cost;
    int64_t *potential; /* [vertex] */
    int64_t *distance;  /* [vertex] in the search under way; -1: not reached */
    int *from;          /* [vertex] */
    uint8_t *done;      /* [vertex] */
    struct heap_entry *heap;
    size_t heap_n, heap_cap;
};

/* ---- the heap of a search ---- */

static void push(struct network *w, int64_t distance, int at)
{
    if (w->heap_n == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
        w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
        if (w->heap == NULL)
            abort();
    }
    size_t i = w->heap_n++;
    for (; i > 0 && w->heap[(i - 1) / 2].distance > distance; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = (struct heap_entry){distance, at};
}

static struct heap_entry pop(struct network *w)
{
    struct heap_entry first = w->heap[0], last = w->heap[--w->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_n)
            break;
        if (child + 1 < w->heap_n && w->heap[child + 1].distance < w->heap[child].distance)
            child++;
        if (w->heap[child].distance >= last.distance)
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

/* ---- one search ---- */

static void relax(struct network *w, int from, int to, int64_t cost)
{
    int64_t distance = w->distance[from] + cost + w->potential[from] - w->potential[to];
    if (w->done[to] || (w->distance[to] >= 0 && w->distance[to] <= distance))
        return;
    w->distance[to] = distance;
    w->from[to] = from;
    push(w, distance, to);
}

/* A vertex from which the sink is reached at this cost ends a search when nothing nearer is left.
 */
struct end {
    int at; /* NONE: not found yet */
    int64_t distance, cost;
};

static void consider(const struct network *w, struct end *end, int at, int64_t cost)
{
    int64_t distance = w->distance[at] + w->potential[at] + cost; /* the sink's potential is 0 */
    if (end->at == NONE || distance < end->distance)
        *end = (struct end){at, distance, cost};
}

static void visit_kind(struct network *w, int kind, struct end *end)
{
    const int64_t *cost = w->cost + (size_t)kind * w->nodes;
    const uint16_t *room = w->room + (size_t)kind * w->nodes;
    consider(w, end, kind, w->left_out[kind]);
    for (int i = 0; i < w->nodes; i++)
        if (room[i] > 0)
            relax(w, kind, w->kinds + i, cost[i]);
}

static void visit_node(struct network *w, int node, struct end *end)
{
    if (w->load[node] < w->most[node])
        consider(w, end, w->kinds + node, w->load_cost * w->load[node]);
    for (int k = 0; k < w->kinds; k++) {
        size_t arc = (size_t)k * w->nodes + node;
        if (w->flow[arc] > 0)
            relax(w, w->kinds + node, k, -w->cost[arc]);
    }
}

static void send_unit(struct network *w, const struct end *end)
{
    if (end->at >= w->kinds)
        w->load[end->at - w->kinds]++;
    for (int to = end->at; w->from[to] != NONE; to = w->from[to]) {
        int from = w->from[to], sign = from < w->kinds ? 1 : -1;
        size_t arc = sign > 0 ? (size_t)from * w->nodes + (to - w->kinds)
                              : (size_t)to * w->nodes + (from - w->kinds);
        w->flow[arc] = (uint16_t)(w->flow[arc] + sign);
        w->room[arc] = (uint16_t)(w->room[arc] - sign);
    }
}

/* A pod more of a kind: by the cheapest way from there to the sink. The sink's potential stays 0,
 * and with it that of all vertices that are further away; those nearer are moved, so that no arc of
 * the residual network is ever of negative reduced cost. */
static void add_pod(struct network *w, int kind)
{
    int vertices = w->kinds + w->nodes;
    struct end end = {NONE, 0, 0};
    memset(w->done, 0, (size_t)vertices);
    for (int v = 0; v < vertices; v++)
        w->distance[v] = -1;
    w->heap_n = 0;
    w->distance[kind] = 0;
    w->from[kind] = NONE;
    push(w, 0, kind);
    while (w->heap_n > 0) {
        struct heap_entry e = pop(w);
        if (w->done[e.at])
            continue;
        if (end.at != NONE && e.distance >= end.distance)
            break;
        w->done[e.at] = 1;
        if (e.at < w->kinds)
            visit_kind(w, e.at, &end);
        else
            visit_node(w, e.at - w->kinds, &end);
    }
    for (int v = 0; v < vertices; v++)
        if (w->done[v] && w->distance[v] < end.distance)
            w->potential[v] += w->distance[v] - end.distance;
    send_unit(w, &end);
}

/* ---- the network of a batch ---- */

/* How many such pods the node can take by its resources, one at least: all filters agreed to one.
 */
static uint32_t how_many(const struct kb_policy_nodes *nodes, const struct kb_policy_pod *pod,
                         uint32_t slot, uint32_t most)
{
    for (uint32_t i = 0; i < pod->requests_n; i++) {
        const struct kb_policy_request *want = &pod->requests[i];
        int64_t left =
            nodes->allocatable[want->resource][slot] - nodes->requested[want->resource][slot];
        int64_t times = left / want->amount;
        most = times < (int64_t)most ? (uint32_t)(times < 1 ? 1 : times) : most;
    }
    return pod->ports_n > 0 ? 1 : most;
}

static void *array(size_t n, size_t bytes)
{
    void *made = calloc(n + 1, bytes);
    if (made == NULL)
        abort();
    return made;
}

/* Nodes that any of them may go to. */
static void find_nodes(struct network *w, const struct kb_policy_batch *b)
{
    w->slot = array(b->nodes->count, sizeof(*w->slot));
    for (uint32_t i = 0; i < b->nodes->count; i++) {
        bool any = false;
        for (uint32_t k = 0; k < b->kinds_n; k++)
            any |= b->kinds[k].fits[i];
        if (any)
            w->slot[w->nodes++] = i;
    }
}

/* How many kinds are less important. */
static int64_t rank(const struct kb_policy_batch *b, int32_t priority)
{
    int64_t n = 0;
    for (uint32_t k = 0; k < b->kinds_n; k++)
        n += b->kinds[k].priority < priority;
    return n;
}

static void make_arcs(struct network *w, const struct kb_policy_batch *b, int32_t best)
{
    /* More than all ways to nodes together: as many pods as possible go, the important ones first.
     */
    int64_t dear = (best + 1 + w->load_cost * PODS + WAITED_MOST) * PODS;
    for (int k = 0; k < w->kinds; k++) {
        const struct kb_policy_batch_kind *kind = &b->kinds[k];
        int64_t waited_s = kind->waited_ms / 1000;
        for (int i = 0; i < w->nodes; i++) {
            uint32_t slot = w->slot[i];
            size_t arc = (size_t)k * w->nodes + i;
            if (!kind->fits[slot])
                continue;
            uint32_t room = how_many(b->nodes, kind->pod, slot, kind->pods);
            w->cost[arc] = best - kind->score[slot];
            w->room[arc] = (uint16_t)room;
            w->most[i] = (uint16_t)(w->most[i] > room ? w->most[i] : room);
        }
        w->left_out[k] = dear * (1 + rank(b, kind->priority)) +
                         (waited_s < WAITED_MOST ? waited_s : WAITED_MOST);
    }
}

static void network_init(struct network *w, const struct kb_policy_batch *b, int64_t load_cost)
{
    int32_t best = 0;
    *w = (struct network){.kinds = (int)b->kinds_n, .load_cost = load_cost};
    find_nodes(w, b);
    size_t arcs = (size_t)w->kinds * w->nodes, vertices = (size_t)w->kinds + w->nodes;
    for (uint32_t k = 0; k < b->kinds_n; k++)
        for (int i = 0; i < w->nodes; i++)
            if (b->kinds[k].fits[w->slot[i]] && b->kinds[k].score[w->slot[i]] > best)
                best = b->kinds[k].score[w->slot[i]];
    w->cost = array(arcs, sizeof(*w->cost));
    w->room = array(arcs, sizeof(*w->room));
    w->flow = array(arcs, sizeof(*w->flow));
    w->left_out = array((size_t)w->kinds, sizeof(*w->left_out));
    w->load = array((size_t)w->nodes, sizeof(*w->load));
    w->most = array((size_t)w->nodes, sizeof(*w->most));
    w->potential = array(vertices, sizeof(*w->potential));
    w->distance = array(vertices, sizeof(*w->distance));
    w->from = array(vertices, sizeof(*w->from));
    w->done = array(vertices, sizeof(*w->done));
    make_arcs(w, b, best);
}

static void network_finish(struct network *w)
{
    void *arrays[] = {w->slot, w->cost,      w->room,     w->flow, w->left_out, w->load,
                      w->most, w->potential, w->distance, w->from, w->done,     w->heap};
    for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
        free(arrays[i]);
}

/* ---- the extension point ---- */

struct args {
    int64_t load_cost;
};

static int configure(const struct kb_policy_host *host, const char *text, void **ret_instance,
                     char *error, size_t error_bytes)
{
    double load = kb_policy_number(text, "loadCost", 10);
    struct args *args = load >= 0 && load <= 1000 ? malloc(sizeof(*args)) : NULL;
    (void)host;
    if (args == NULL) {
        snprintf(error, error_bytes, "loadCost: not in valid range [0, 1000]");
        return -1;
    }
    args->load_cost = (int64_t)load;
    *ret_instance = args;
    return 0;
}

static void batch(void *instance, const struct kb_policy_batch *b, kb_policy_suggest *suggest,
                  void *to)
{
    const struct args *args = instance;
    struct network w;
    network_init(&w, b, args->load_cost);
    for (int k = 0; k < w.kinds && w.nodes > 0; k++)
        for (uint32_t i = 0; i < b->kinds[k].pods; i++)
            add_pod(&w, k);
    for (int k = 0; k < w.kinds; k++)
        for (int i = 0; i < w.nodes; i++)
            for (uint16_t n = w.flow[(size_t)k * w.nodes + i]; n > 0; n--)
                suggest(to, (uint32_t)k, w.slot[i]);
    network_finish(&w);
}

KB_POLICY(MinCostFlow, .configure = configure, .unload = free, .batch = batch);
