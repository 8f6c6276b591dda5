#include "actors/scheduler/core/domains.h"

#include "bus/base/check.h"

#include <stdlib.h>
#include <string.h>

static void table_free(struct kb_domain_table *t)
{
    free(t->of);
    free(t->value);
    free(t->nodes);
}

void kb_domains_finish(struct kb_domain_tables *d)
{
    for (uint32_t i = 0; i < KB_DOMAIN_KEYS; i++)
        table_free(&d->at[i]);
}

static struct kb_domain_table *find(struct kb_domain_tables *d, uint32_t key)
{
    struct kb_domain_table *oldest = &d->at[0];
    for (uint32_t i = 0; i < KB_DOMAIN_KEYS; i++) {
        if (d->at[i].key == key)
            return &d->at[i];
        oldest = d->at[i].used < oldest->used ? &d->at[i] : oldest;
    }
    table_free(oldest);
    *oldest = (struct kb_domain_table){.key = key};
    return oldest;
}

const struct kb_policy_domains *kb_domains_known(struct kb_domain_tables *d, uint32_t key,
                                                 uint32_t cap, uint64_t labels)
{
    for (uint32_t i = 0; i < KB_DOMAIN_KEYS; i++) {
        struct kb_domain_table *t = &d->at[i];
        if (t->key != key || t->cap != cap || t->labels != labels)
            continue;
        t->used = ++d->uses;
        return &t->view;
    }
    return NULL;
}

static uint32_t *array(uint32_t n)
{
    uint32_t *a = calloc(n + 1, sizeof(*a));
    KB_ASSERT(a != NULL);
    return a;
}

/* value → domain, open addressed: `seat` has domains, 0 is free. */
static uint32_t seat_of(const uint32_t *seat, uint32_t seats, const uint32_t *value, uint32_t want)
{
    uint32_t i = (want * 2654435769u >> 7) & (seats - 1);
    while (seat[i] != 0 && value[seat[i]] != want)
        i = (i + 1) & (seats - 1);
    return i;
}

const struct kb_policy_domains *kb_domains_get(struct kb_domain_tables *d, uint32_t key,
                                               const uint32_t *column, uint32_t count, uint32_t cap,
                                               uint64_t labels)
{
    struct kb_domain_table *t = find(d, key);
    struct kb_domain_table fresh = {.key = key, .cap = cap, .labels = labels, .used = ++d->uses};
    uint32_t seats = 16, n = 1;
    while (seats < count * 2)
        seats *= 2;
    uint32_t *seat = array(seats);
    fresh.of = array(cap);
    fresh.value = array(count);
    fresh.nodes = array(count);
    for (uint32_t slot = 0; slot < count; slot++) {
        if (column[slot] == 0)
            continue;
        uint32_t at = seat_of(seat, seats, fresh.value, column[slot]);
        if (seat[at] == 0) {
            seat[at] = n;
            fresh.value[n++] = column[slot];
        }
        fresh.of[slot] = seat[at];
        fresh.nodes[seat[at]]++;
    }
    free(seat);
    bool same = t->of != NULL && t->cap == cap && t->view.n == n &&
                memcmp(t->of, fresh.of, cap * sizeof(*t->of)) == 0 &&
                memcmp(t->value, fresh.value, n * sizeof(*t->value)) == 0;
    fresh.view = (struct kb_policy_domains){same ? t->view.version : ++d->versions, n, fresh.of,
                                            fresh.value, fresh.nodes};
    table_free(t);
    *t = fresh;
    return &t->view;
}
