#include "actors/runtime/queue.h"

#include "bus/base/check.h"

#include <stdlib.h>

/*  idle --add--> ready --take--> working --done--> idle, or ready again when it was marked.
 *  A timer may wait beside any of these; an item without state, timer and failures is freed. */
struct item {
    struct kb_link link; /* in `ready` */
    struct kb_timer timer;
    uint32_t failures;
    bool ready, working, again;
    size_t n;
    char key[];
};

void kb_queue_init(struct kb_queue *q)
{
    *q = (struct kb_queue){0};
    kb_list_init(&q->ready);
}

void kb_queue_finish(struct kb_queue *q)
{
    kb_str key;
    void *item;
    kb_timers_finish(&q->timers); /* touches the items' timers */
    for (size_t i = 0; kb_map_next(&q->items, &i, &key, &item);)
        free(item);
    kb_map_finish(&q->items);
    kb_queue_init(q);
}

static kb_str item_key(const struct item *item)
{
    return kb_str_n(item->key, item->n);
}

static struct item *item_ensure(struct kb_queue *q, kb_str key)
{
    struct item *item = kb_map_get(&q->items, key);
    if (item)
        return item;
    item = calloc(1, sizeof(*item) + key.n);
    KB_ASSERT(item != NULL);
    kb_list_init(&item->link);
    item->n = key.n;
    memcpy(item->key, key.p, key.n);
    kb_map_put(&q->items, key, item);
    return item;
}

static void item_drop_if_idle(struct kb_queue *q, struct item *item)
{
    if (item->ready || item->working || item->failures || kb_timer_armed(&item->timer))
        return;
    kb_map_del(&q->items, item_key(item));
    free(item);
}

static void item_add(struct kb_queue *q, struct item *item)
{
    kb_timers_disarm(&q->timers, &item->timer);
    if (item->working) {
        item->again = true;
    } else if (!item->ready) {
        item->ready = true;
        q->ready_count++;
        kb_list_push(&q->ready, &item->link);
    }
}

void kb_queue_add(struct kb_queue *q, kb_str key)
{
    item_add(q, item_ensure(q, key));
}

void kb_queue_add_at(struct kb_queue *q, kb_str key, kb_ms due_ms)
{
    struct item *item = item_ensure(q, key);
    if (item->ready || item->again)
        return;
    if (!kb_timer_armed(&item->timer) || due_ms < item->timer.due_ms)
        kb_timers_arm(&q->timers, &item->timer, due_ms);
}

kb_ms kb_queue_add_failed(struct kb_queue *q, kb_str key, kb_ms now_ms)
{
    struct item *item = item_ensure(q, key);
    kb_ms delay = KB_QUEUE_BACKOFF_MAX_MS;
    if (item->failures < 18)
        delay = (kb_ms)KB_QUEUE_BACKOFF_FIRST_MS << item->failures;
    if (delay > KB_QUEUE_BACKOFF_MAX_MS)
        delay = KB_QUEUE_BACKOFF_MAX_MS;
    item->failures++;
    kb_queue_add_at(q, key, now_ms + delay);
    return delay;
}

void kb_queue_forget(struct kb_queue *q, kb_str key)
{
    struct item *item = kb_map_get(&q->items, key);
    if (item == NULL)
        return;
    item->failures = 0;
    item_drop_if_idle(q, item);
}

uint32_t kb_queue_failures(const struct kb_queue *q, kb_str key)
{
    const struct item *item = kb_map_get(&q->items, key);
    return item ? item->failures : 0;
}

static void timers_fire(struct kb_queue *q, kb_ms now_ms)
{
    struct kb_timer *timer;
    while ((timer = kb_timers_pop(&q->timers, now_ms)) != NULL)
        item_add(q, KB_CONTAINER(timer, struct item, timer));
}

bool kb_queue_take(struct kb_queue *q, kb_ms now_ms, kb_str *ret_key)
{
    timers_fire(q, now_ms);
    struct kb_link *link = kb_list_pop(&q->ready);
    if (link == NULL)
        return false;
    struct item *item = KB_CONTAINER(link, struct item, link);
    item->ready = false;
    item->working = true;
    q->ready_count--;
    q->working_count++;
    *ret_key = item_key(item);
    return true;
}

void kb_queue_done(struct kb_queue *q, kb_str key)
{
    struct item *item = kb_map_get(&q->items, key);
    KB_ASSERT(item != NULL && item->working);
    item->working = false;
    q->working_count--;
    if (item->again) {
        item->again = false;
        item_add(q, item);
        return;
    }
    item_drop_if_idle(q, item);
}

kb_ms kb_queue_wait_ms(const struct kb_queue *q, kb_ms now_ms)
{
    return q->ready_count ? 0 : kb_timers_wait_ms(&q->timers, now_ms);
}
