/* Cells of volumes, claims and storage classes. */
#include "bus/model/columns_cell.h"

#include <stdio.h>

static void cell_text_or_unset(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb__cell_or(w, kb_val_str(kb__cell_val(column, row)), "<unset>");
}

/* In the order of Kubernetes, each once. */
static void cell_access_modes(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    static const char *const modes[][2] = {{"ReadWriteOnce", "RWO"},
                                           {"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    char out[32] = "";
    size_t n = 0;
    for (size_t i = 0; i < KB_COUNT(modes); i++) {
        bool has = false;
        for (struct kb_iter it = kb_iter(kb__cell_val(column, row)); kb_iter_next(&it);)
            has |= kb_str_is(kb_val_str(it.val), modes[i][0]);
        if (has)
            n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s", n ? "," : "", modes[i][1]);
    }
    kb_w_cstr(w, out);
}

static void cell_claim_ref(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_val ref = kb__cell_val(column, row);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str ns = kb_val_str(kb_val_get(ref, "namespace")),
           name = kb_val_str(kb_val_get(ref, "name"));
    if (kb_val_present(ref))
        kb_buf_printf(&out, KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(ns), KB_STR_ARG(name));
    kb_w_str(w, kb_buf_str(&out));
}

static void cell_storage_class(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_val annotations = kb_val_at(row->object, "metadata.annotations");
    kb_val old = kb_val_get(annotations, "volume.beta.kubernetes.io/storage-class");
    kb_val now = kb_val_at(row->object, "spec.storageClassName");
    (void)column;
    kb_w_str(w, kb_val_str(kb_val_present(old) ? old : now));
}

static void cell_class_name(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_val annotations = kb_val_at(row->object, "metadata.annotations");
    kb_str is = kb_val_str(kb_val_get(annotations, "storageclass.kubernetes.io/is-default-class"));
    (void)column;
    kb_buf_add_str(&out, kb_val_str_at(row->object, "metadata.name"));
    if (kb_str_is(is, "true"))
        kb_buf_puts(&out, " (default)");
    kb_w_str(w, kb_buf_str(&out));
}

static void cell_phase(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    if (kb_val_present(kb_val_at(row->object, "metadata.deletionTimestamp")))
        kb_w_cstr(w, "Terminating");
    else
        kb_w_str(w, kb_val_str(kb__cell_val(column, row)));
}

kb__cell_fn kb__cell_storage(kb_str name)
{
    static const struct {
        const char *name;
        kb__cell_fn fn;
    } table[] = {
        {"text-or-unset", cell_text_or_unset}, {"access-modes", cell_access_modes},
        {"claim-ref", cell_claim_ref},         {"storage-class", cell_storage_class},
        {"class-name", cell_class_name},       {"phase-or-terminating", cell_phase},
    };
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (kb_str_is(name, table[i].name))
            return table[i].fn;
    return NULL;
}
