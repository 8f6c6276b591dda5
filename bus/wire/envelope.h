/* The envelope of a message: its header, encoded and checked. One version, bounded, unknown fields
 * ignored. The body is any msgpack map; who receives it reads it as a kb_val. */
#ifndef KUBUS_WIRE_ENVELOPE_H
#define KUBUS_WIRE_ENVELOPE_H

#include "bus/base/clock.h"
#include "bus/model/doc.h"

enum { KB_WIRE_VERSION = 1 };

enum kb_wire_type {
    KB_WIRE_NONE,
#define KB_MESSAGE(id, word) KB_WIRE_##id,
#include "bus/wire/messages.def"
    KB_WIRE_COUNT
};

/* A header, decoded; texts borrow from the frame. What a message has not is 0 or empty. */
struct kb_wire_head {
    int64_t version; /* written by the encoder; of a decoded one, what the frame says */
    enum kb_wire_type type;
    uint64_t id;
    kb_str method, from;
    kb_ms deadline_ms; /* call: ms left; 0: no deadline */
    int64_t credit;    /* call: opens a stream; `n` of a credit message */
    kb_str db;         /* events */
    int64_t rev, prev, now;
};

/* The word of a type, "" for KB_WIRE_NONE. */
KB_API const char *kb_wire_word(enum kb_wire_type type);

/* Replace `out` by the header's bytes. Fields that are 0 or empty are left out, but for `prev`
 * of an event. */
KB_API void kb_wire_encode(const struct kb_wire_head *head, struct kb_buf *out);

/* Check and decode a header frame. -KB_EINVAL: no map, no known type, a field out of bounds;
 * -KB_E2BIG; -KB_ENOSYS: another version (`ret_head` is then valid as far as type and id).
 * O(bytes). */
KB_API int kb_wire_decode(kb_str frame, struct kb_wire_head *ret_head, struct kb_err *err);

/* Check a body frame: a map, or nothing at all (KB_NONE). */
KB_API int kb_wire_body(kb_str frame, kb_val *ret_body, struct kb_err *err);

/* The body of an `err`: {code, reason, message} and the members of `details`, when it is a map. */
KB_API void kb_wire_error(const struct kb_err *err, kb_val details, struct kb_w *w);
/* The error that such a body stands for. */
KB_API void kb_wire_error_read(kb_val body, struct kb_err *ret_err);

/* The known method of this name; NULL when the table has none. For tools. */
struct kb_wire_method {
    const char *service, *name;
    bool stream;
};
KB_API const struct kb_wire_method *kb_wire_method(kb_str name);

#endif
