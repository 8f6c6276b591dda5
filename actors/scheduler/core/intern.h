/* Texts as small numbers: equal texts have equal ids, so that comparing labels is comparing
 * integers. Id 0 is "none" and reads as "". Texts stay for the life of the table: names of nodes
 * and labels recur, and an id must never change its meaning under a column. */
#ifndef KUBUS_SCHEDULER_INTERN_H
#define KUBUS_SCHEDULER_INTERN_H

#include "bus/base/arena.h"
#include "bus/base/map.h"

/* Zero-initialized is empty and valid. */
struct kb_intern {
    struct kb_map ids;
    struct kb_arena arena;
    struct kb_intern_text {
        kb_str text;
        int64_t number;
        bool is_number;
    } * texts; /* [id] */
    uint32_t n, cap;
};

void kb_intern_finish(struct kb_intern *in);
uint32_t kb_intern_id(struct kb_intern *in, kb_str text);            /* made if new; never 0 */
uint32_t kb_intern_find(const struct kb_intern *in, kb_str text);    /* 0: not there */
const char *kb_intern_text(const struct kb_intern *in, uint32_t id); /* terminated; "" for 0 */
bool kb_intern_number(const struct kb_intern *in, uint32_t id, int64_t *ret);

#endif
