/* Quantities of resources, as Kubernetes writes them: "100m", "1.5Gi", "1e3".
 *
 * Exact to a billionth, within ±(2^63 - 1) units: what is finer is rounded up (away from zero),
 * what is larger is capped, as Kubernetes does. */
#ifndef KUBUS_MODEL_QUANTITY_H
#define KUBUS_MODEL_QUANTITY_H

#include "bus/model/doc.h"

enum kb_quantity_format { KB_DECIMAL_SI, KB_BINARY_SI, KB_DECIMAL_EXPONENT };

/* The value is sign * (whole + nano / 1e9). Zero-initialized is "0". */
struct kb_quantity {
    int64_t whole; /* >= 0 */
    int32_t nano;  /* 0 to 999,999,999 */
    bool negative;
    enum kb_quantity_format format; /* how it is written */
};

/* -KB_EINVAL with the texts of Kubernetes. */
KB_API int kb_quantity_parse(kb_str text, struct kb_quantity *ret, struct kb_err *err);
/* From a document: a text, or a number as JSON clients may send. */
KB_API int kb_quantity_of(kb_val val, struct kb_quantity *ret, struct kb_err *err);
KB_API struct kb_quantity kb_quantity_int(int64_t value, enum kb_quantity_format format);
KB_API struct kb_quantity kb_quantity_from_milli(int64_t milli, enum kb_quantity_format format);

/* The canonical form: no fraction, the largest suffix that keeps it exact. */
enum { KB_QUANTITY_BYTES = 40 };
KB_API void kb_quantity_format(struct kb_quantity q, char out[KB_QUANTITY_BYTES]);

/* In units or thousandths, rounded away from zero, capped at the ends of int64. */
KB_API int64_t kb_quantity_value(struct kb_quantity q);
KB_API int64_t kb_quantity_milli(struct kb_quantity q);
/* The two most frequent readings of a document's value; `otherwise` when absent or malformed. */
KB_API int64_t kb_val_quantity(kb_val val, int64_t otherwise);
KB_API int64_t kb_val_milli(kb_val val, int64_t otherwise);
/* Of a resource: thousandths of "cpu", units of all else, none below 0. */
KB_API int64_t kb_val_amount(kb_val val, kb_str resource, int64_t otherwise);

KB_API int kb_quantity_cmp(struct kb_quantity a, struct kb_quantity b); /* <0, 0, >0 */
KB_API bool kb_quantity_is_zero(struct kb_quantity q);
/* The format is that of `a`, or of `b` when a is zero. Capped. */
KB_API struct kb_quantity kb_quantity_add(struct kb_quantity a, struct kb_quantity b);
KB_API struct kb_quantity kb_quantity_sub(struct kb_quantity a, struct kb_quantity b);

#endif
