/* Printer columns: an object becomes the row of a Table that `kubectl get` prints.
 *
 * Pure: the time comes in as a parameter. What a column computes is said by its entry in
 * bus/model/kinds/ (`cell`, see the README there) or by the jsonPath of a user-defined kind. */
#ifndef KUBUS_MODEL_COLUMNS_H
#define KUBUS_MODEL_COLUMNS_H

#include "bus/model/doc.h"

struct kb_columns;

/* Compile a kind's `columns`. Everything is copied. KB_NONE or an empty list gives the columns of a
 * kind that says nothing: Name and Created At. -KB_EINVAL: an unknown cell, or a path that does not
 * compile. */
KB_API int kb_columns_new(kb_val columns, struct kb_columns **ret_columns, struct kb_err *err);
/* The same from the additionalPrinterColumns of a CustomResourceDefinition version: Name comes
 * first, and Age alone follows when there are none. */
KB_API int kb_columns_new_crd(kb_val columns, struct kb_columns **ret_columns, struct kb_err *err);
KB_API void kb_columns_destroy(struct kb_columns **columns_p);

KB_API size_t kb_columns_count(const struct kb_columns *columns);
/* Write the Table's columnDefinitions, an array of maps. */
KB_API void kb_columns_definitions(const struct kb_columns *columns, struct kb_w *w);
/* Write the cells of one object's row, an array of as many values as there are columns. */
KB_API void kb_columns_row(const struct kb_columns *columns, kb_val object, int64_t now_wall_us,
                           struct kb_w *w);

enum { KB_AGE_BYTES = 48 };
/* A span as kubectl shows ages: "5s", "3m12s", "2d3h", "4y"; "<invalid>" below -1 second. */
KB_API void kb_age_format(int64_t span_us, char out[KB_AGE_BYTES]);

#endif
