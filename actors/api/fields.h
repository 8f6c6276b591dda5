/* What a list or watch selects: labels and fields, checked against the kind. Pure. */
#ifndef KUBUS_API_FIELDS_H
#define KUBUS_API_FIELDS_H

#include "bus/model/kind.h"
#include "bus/model/selector.h"

/* Zero-initialized selects everything. */
struct kb_selection {
    kb_str ns, name; /* empty: any. Borrowed from the request */
    struct kb_selector *labels;
    struct kb_field_selector *fields;
    const struct kb_kind *kind;
};

/* Parse both texts. metadata.name and metadata.namespace are understood for every kind, other
 * fields when the kind declares them. -KB_EINVAL with Kubernetes' text (`field label not supported:
 * x`). A selector of one name also sets `name`. */
int kb_selection_parse(const struct kb_kind *kind, kb_str ns, kb_str label_text, kb_str field_text,
                       struct kb_selection *ret, struct kb_err *err);
void kb_selection_finish(struct kb_selection *selection);

/* Labels and fields both match; the namespace is not looked at. KB_NONE matches nothing. */
bool kb_selection_match(const struct kb_selection *selection, kb_val object);
/* The store's view that holds the selection, or a superset of it (*ret_exact false: match each
 * object). Appended to `out`. */
void kb_selection_view(const struct kb_selection *selection, struct kb_buf *out, bool *ret_exact);
bool kb_selection_is_filtered(const struct kb_selection *selection); /* by more than namespace */

#endif
