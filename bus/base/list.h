/* Intrusive doubly linked list: the link lives in the member, nothing is allocated. */
#ifndef KUBUS_BASE_LIST_H
#define KUBUS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct kb_link {
    struct kb_link *prev, *next;
};

#define KB_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void kb_list_init(struct kb_link *head)
{
    head->prev = head->next = head;
}

static inline bool kb_list_empty(const struct kb_link *head)
{
    return head->next == head;
}

static inline void kb_list_push(struct kb_link *head, struct kb_link *link) /* at the end */
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Remove from whatever list it is in; harmless on a link that is alone or zeroed. */
static inline void kb_list_remove(struct kb_link *link)
{
    if (link->next != NULL) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
    }
    kb_list_init(link);
}

static inline struct kb_link *kb_list_pop(struct kb_link *head) /* from the front, or NULL */
{
    struct kb_link *link = head->next;
    if (link == head)
        return NULL;
    kb_list_remove(link);
    return link;
}

/* All of `from`, in order, behind what is in `to`; `from` is empty then. */
static inline void kb_list_move(struct kb_link *to, struct kb_link *from)
{
    if (kb_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    kb_list_init(from);
}

#define KB_LIST_EACH(it, head) for (struct kb_link *it = (head)->next; it != (head); it = it->next)
/* The current member may be removed, and freed. */
#define KB_LIST_EACH_SAFE(it, head)                                                                \
    for (struct kb_link *it = (head)->next, *it##_next = it->next; it != (head);                   \
         it = it##_next, it##_next = it->next)

#endif
