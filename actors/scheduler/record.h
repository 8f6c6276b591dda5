/* A record of a scheduler at work: what it was told and what it wished, as JSON lines, from which
 * `kubus sim replay` makes it decide the same again. docs/simulate.md describes the lines.
 *
 * Appended to the file with each decision; a scheduler that is started again begins anew in the
 * same file, and so does the replay. When the disk refuses, the record ends there, with a warning:
 * a scheduler does not stop for it. */
#ifndef KUBUS_SCHEDULER_RECORD_H
#define KUBUS_SCHEDULER_RECORD_H

#include "actors/scheduler/scheduler_core.h"

struct kb_record;

/* `s` is a new one, of this seed, that was told nothing yet; it must outlive the record. -KB_EIO.
 */
int kb_record_open(struct kb_sched *s, uint64_t seed, const char *path, struct kb_record **ret,
                   struct kb_err *err);
void kb_record_close(struct kb_record **r_p);

/* The parts of a line, for the replay. */
extern const char *const kb_record_ops[]; /* [enum kb_sched_input_kind] */
/* Append {kind, key, node, gpus, attempt, hash}: of a wish; not of events, which are for people. */
bool kb_record_wish(struct kb_buf *out, const struct kb_sched_wish *wish);

#endif
