/* The event correlator: many alike become one with a count, floods are cut. Pure.
 *
 * As client-go does: the same event again raises the count of the object that is there; more than
 * ten of the same reason with different messages within ten minutes become one "(combined from
 * similar events)"; an object may have a burst of 25 events from one source, then one in five
 * minutes. What is remembered is bounded: the least recently used is forgotten. */
#ifndef KUBUS_RUNTIME_EVENTS_H
#define KUBUS_RUNTIME_EVENTS_H

#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/model/key.h"
#include "bus/model/node.h"

enum { KB_EVENTS_REMEMBERED = 4096 };

struct kb_events {
    struct kb_map known;   /* identity → record */
    struct kb_map named;   /* name of the Event object → record */
    struct kb_link recent; /* least recently used first */
    size_t count;
};

struct kb_event_in {
    const char *source; /* the controller */
    const char *type, *reason, *message;
    kb_val about; /* metadata of the object is read */
    const char *api_version, *kind;
    kb_str resource_version; /* may be empty */
};

enum kb_event_action { KB_EVENT_DROP, KB_EVENT_CREATE, KB_EVENT_PATCH };

void kb_events_init(struct kb_events *events);
void kb_events_finish(struct kb_events *events);
/* Decide. CREATE: *ret is the whole Event; PATCH: a merge patch for the one at *ret_ns, *ret_name.
 * All in `a`. Until the write is answered, further occurrences of the same event are only counted.
 */
enum kb_event_action kb_events_add(struct kb_events *events, const struct kb_event_in *in,
                                   int64_t now_us, struct kb_arena *a, struct kb_node **ret,
                                   kb_str *ret_ns, kb_str *ret_name);
/* The write of the event of that name was answered; `gone`: it was not there, so its next
 * occurrence creates it anew. PATCH: more occurred meanwhile, *ret says how many there are now. */
enum kb_event_action kb_events_answered(struct kb_events *events, kb_str name, bool gone,
                                        struct kb_arena *a, struct kb_node **ret);

#endif
