/* requests.c - one row a resource, with a column for each sum that PodRequests keeps; a container
 * is read into the rows and then added up in all of them. */
#include "bus/model/requests.h"

#include "bus/model/quantity.h"

struct row {
    kb_str resource;
    int64_t one; /* of the container that is looked at */
    bool stated; /* by it */
    int64_t together, sidecars, largest;
    int64_t sum;
};

struct rows {
    struct kb_arena *arena;
    struct row *v;
    uint32_t n, cap;
};

static struct row *row_of(struct rows *rows, kb_str resource)
{
    for (uint32_t i = 0; i < rows->n; i++)
        if (kb_str_eq(rows->v[i].resource, resource))
            return &rows->v[i];
    KB_ARENA_GROW(rows->arena, rows->v, rows->n, rows->cap, 4);
    rows->v[rows->n] = (struct row){.resource = resource};
    return &rows->v[rows->n++];
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void read_missing(struct rows *rows, const char *resource, int64_t amount)
{
    if (amount == 0)
        return; /* and the resource stays one that nobody named */
    struct row *row = row_of(rows, kb_str_of(resource));
    if (!row->stated)
        row->one = amount;
}

static void read_container(struct rows *rows, kb_val container,
                           const struct kb_requests_missing *missing)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        rows->v[i].one = 0;
        rows->v[i].stated = false;
    }
    kb_val requests = kb_val_get(kb_val_get(container, "resources"), "requests");
    for (struct kb_iter it = kb_iter(requests); kb_iter_next(&it);) {
        struct row *row = row_of(rows, it.key);
        row->one = kb_val_amount(it.val, it.key, 0);
        row->stated = kb_val_present(it.val);
    }
    if (missing == NULL)
        return;
    read_missing(rows, "cpu", missing->cpu_milli);
    read_missing(rows, "memory", missing->memory_bytes);
}

static void add_init(struct rows *rows, bool sidecar)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        struct row *row = &rows->v[i];
        row->largest = most(row->largest, plus(row->one, row->sidecars));
        if (!sidecar)
            continue;
        row->sidecars = plus(row->sidecars, row->one);
        row->together = plus(row->together, row->one);
    }
}

static void sum_containers(struct rows *rows, kb_val spec,
                           const struct kb_requests_missing *missing)
{
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "containers")); kb_iter_next(&it);) {
        read_container(rows, it.val, missing);
        for (uint32_t i = 0; i < rows->n; i++)
            rows->v[i].together = plus(rows->v[i].together, rows->v[i].one);
    }
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "initContainers")); kb_iter_next(&it);) {
        read_container(rows, it.val, missing);
        add_init(rows, kb_str_is(kb_val_str(kb_val_get(it.val, "restartPolicy")), "Always"));
    }
    for (uint32_t i = 0; i < rows->n; i++)
        rows->v[i].sum = most(rows->v[i].together, rows->v[i].largest);
}

static bool for_whole_pods(kb_str resource)
{
    return kb_str_is(resource, "cpu") || kb_str_is(resource, "memory");
}

/* Does the pod as a whole request something, stated or by a limit? */
static bool has_whole(kb_val whole)
{
    static const char *const lists[] = {"requests", "limits"};
    for (size_t i = 0; i < KB_COUNT(lists); i++)
        for (struct kb_iter it = kb_iter(kb_val_get(whole, lists[i])); kb_iter_next(&it);)
            if (for_whole_pods(it.key))
                return true;
    return false;
}

static void apply_whole(struct rows *rows, kb_val whole)
{
    uint32_t of_containers = rows->n;
    for (struct kb_iter it = kb_iter(kb_val_get(whole, "limits")); kb_iter_next(&it);) {
        if (!for_whole_pods(it.key))
            continue;
        struct row *row = row_of(rows, it.key);
        if (row >= rows->v + of_containers)
            row->sum = kb_val_amount(it.val, it.key, 0);
    }
    for (struct kb_iter it = kb_iter(kb_val_get(whole, "requests")); kb_iter_next(&it);)
        if (for_whole_pods(it.key))
            row_of(rows, it.key)->sum = kb_val_amount(it.val, it.key, 0);
}

static struct rows sum_pod(kb_val spec, const struct kb_requests_missing *missing,
                           struct kb_arena *arena)
{
    struct rows rows = {.arena = arena};
    sum_containers(&rows, spec, missing);
    apply_whole(&rows, kb_val_get(spec, "resources"));
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "overhead")); kb_iter_next(&it);) {
        struct row *row = row_of(&rows, it.key);
        row->sum = plus(row->sum, kb_val_amount(it.val, it.key, 0));
    }
    return rows;
}

static bool names(const struct rows *rows, const char *resource)
{
    for (uint32_t i = 0; i < rows->n; i++)
        if (kb_str_is(rows->v[i].resource, resource))
            return true;
    return false;
}

struct kb_requests kb_requests_of(kb_val spec, const struct kb_requests_missing *missing,
                                  struct kb_arena *arena)
{
    struct rows rows = {0};
    if (missing == NULL || has_whole(kb_val_get(spec, "resources")))
        rows = sum_pod(spec, NULL, arena);
    if (missing != NULL) {
        struct kb_requests_missing rest = *missing;
        if (names(&rows, "cpu"))
            rest.cpu_milli = 0;
        if (names(&rows, "memory"))
            rest.memory_bytes = 0;
        rows = sum_pod(spec, &rest, arena);
    }
    struct kb_request *all = kb_arena_alloc(arena, (rows.n + 1) * sizeof(*all));
    for (uint32_t i = 0; i < rows.n; i++)
        all[i] = (struct kb_request){rows.v[i].resource, rows.v[i].sum};
    return (struct kb_requests){all, rows.n};
}

int64_t kb_requests_amount(const struct kb_requests *requests, const char *resource)
{
    for (uint32_t i = 0; i < requests->n; i++)
        if (kb_str_is(requests->v[i].resource, resource))
            return requests->v[i].amount;
    return 0;
}
