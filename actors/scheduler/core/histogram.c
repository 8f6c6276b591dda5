#include "actors/scheduler/core/histogram.h"

#include "bus/base/check.h"
#include "bus/base/str.h"

#include <stdlib.h>

void kb_histogram_finish(struct kb_histogram *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->rows[i].text);
    free(h->rows);
}

void kb_histogram_add(void *to, const char *reason)
{
    struct kb_histogram *h = to;
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->rows[i].text, reason) == 0) {
            h->rows[i].n += h->weight;
            return;
        }
    }
    h->rows = realloc(h->rows, (h->n + 1) * sizeof(*h->rows));
    KB_ASSERT(h->rows != NULL);
    h->rows[h->n++] = (struct kb_histogram_row){kb_str_dup(kb_str_of(reason)), h->weight};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* " 1 Insufficient cpu, 2 Too many pods." — sorted as texts, number first, as Kubernetes does. */
void kb_histogram_write(const struct kb_histogram *h, struct kb_buf *out)
{
    char **lines = calloc(h->n + 1, sizeof(*lines));
    KB_ASSERT(lines != NULL);
    for (size_t i = 0; i < h->n; i++)
        lines[i] = kb_strf("%u %s", h->rows[i].n, h->rows[i].text);
    qsort(lines, h->n, sizeof(*lines), by_text);
    for (size_t i = 0; i < h->n; i++) {
        kb_buf_printf(out, "%s%s", i ? ", " : " ", lines[i]);
        free(lines[i]);
    }
    if (h->n > 0)
        kb_buf_putc(out, '.');
    free(lines);
}
