/* Cells that know one kind: nodes, services, events. Pods have a file of their own. */
#include "bus/model/columns_cell.h"

#include "bus/base/check.h"

#include <stdlib.h>

/* ---- nodes ---- */

static void node_status(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    for (struct kb_iter it = kb_iter(kb_val_at(row->object, "status.conditions"));
         kb_iter_next(&it);) {
        if (!kb_str_is(kb_val_str_at(it.val, "type"), "Ready"))
            continue;
        kb_buf_clear(&out); /* the last one of a type counts */
        bool ready = kb_str_is(kb_val_str_at(it.val, "status"), "True");
        kb_buf_puts(&out, ready ? "Ready" : "NotReady");
    }
    if (out.n == 0)
        kb_buf_puts(&out, "Unknown");
    if (kb_val_bool_at(row->object, "spec.unschedulable", false))
        kb_buf_puts(&out, ",SchedulingDisabled");
    kb_w_str(w, kb_buf_str(&out));
}

static int str_order(const void *a, const void *b)
{
    return kb_str_cmp(*(const kb_str *)a, *(const kb_str *)b);
}

/* Write the texts in order, each once, joined by commas. */
static void write_set(struct kb_w *w, kb_str *items, size_t n, const char *otherwise)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    qsort(items, n, sizeof(*items), str_order);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && kb_str_eq(items[i], items[i - 1]))
            continue;
        kb_buf_puts(&out, out.n > 0 ? "," : "");
        kb_buf_add_str(&out, items[i]);
    }
    kb__cell_or(w, kb_buf_str(&out), otherwise);
}

static void node_roles(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    (void)column;
    kb_val labels = kb_val_at(row->object, "metadata.labels");
    kb_str *roles = calloc(kb_val_count(labels) + 1, sizeof(*roles));
    KB_ASSERT(roles != NULL);
    size_t n = 0;
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);) {
        if (kb_str_starts(it.key, prefix) && it.key.n > sizeof(prefix) - 1)
            roles[n++] = kb_str_n(it.key.p + sizeof(prefix) - 1, it.key.n - (sizeof(prefix) - 1));
        else if (kb_str_is(it.key, "kubernetes.io/role") && kb_val_str(it.val).n > 0)
            roles[n++] = kb_val_str(it.val);
    }
    write_set(w, roles, n, "<none>");
    free(roles);
}

static void node_address(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    kb_str found = {0};
    for (struct kb_iter it = kb_iter(kb_val_at(row->object, "status.addresses"));
         found.n == 0 && kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "type"), column->of))
            found = kb_val_str_at(it.val, "address");
    kb__cell_or(w, found, "<none>");
}

/* ---- services ---- */

static void append_list(struct kb_buf *out, kb_val list)
{
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_buf_puts(out, out->n > 0 ? "," : "");
        kb_buf_add_str(out, kb_val_str(it.val));
    }
}

/* The points of entry of a load balancer: addresses, else names, in order, each once. */
static void append_ingress(struct kb_buf *out, kb_val service)
{
    kb_val ingress = kb_val_at(service, "status.loadBalancer.ingress");
    kb_str *items = calloc(kb_val_count(ingress) + 1, sizeof(*items));
    KB_ASSERT(items != NULL);
    size_t n = 0;
    for (struct kb_iter it = kb_iter(ingress); kb_iter_next(&it);) {
        kb_str ip = kb_val_str_at(it.val, "ip");
        items[n] = ip.n > 0 ? ip : kb_val_str_at(it.val, "hostname");
        n += items[n].n > 0;
    }
    qsort(items, n, sizeof(*items), str_order);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && kb_str_eq(items[i], items[i - 1]))
            continue;
        kb_buf_puts(out, out->n > 0 ? "," : "");
        kb_buf_add_str(out, items[i]);
    }
    free(items);
}

static void service_external_ip(const struct kb__column *column, struct kb__row *row,
                                struct kb_w *w)
{
    (void)column;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str type = kb_val_str_at(row->object, "spec.type");
    if (kb_str_is(type, "ExternalName")) {
        kb_w_str(w, kb_val_str_at(row->object, "spec.externalName"));
        return;
    }
    bool balanced = kb_str_is(type, "LoadBalancer");
    if (balanced)
        append_ingress(&out, row->object);
    append_list(&out, kb_val_at(row->object, "spec.externalIPs"));
    kb__cell_or(w, kb_buf_str(&out), balanced ? "<pending>" : "<none>");
}

static void service_ports(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    for (struct kb_iter it = kb_iter(kb_val_at(row->object, "spec.ports")); kb_iter_next(&it);) {
        int64_t node_port = kb_val_int_at(it.val, "nodePort", 0);
        kb_buf_printf(&out, "%s%lld", out.n > 0 ? "," : "",
                      (long long)kb_val_int_at(it.val, "port", 0));
        if (node_port > 0)
            kb_buf_printf(&out, ":%lld", (long long)node_port);
        kb_buf_putc(&out, '/');
        kb_buf_add_str(&out, kb_val_str_at(it.val, "protocol"));
    }
    kb__cell_or(w, kb_buf_str(&out), "<none>");
}

/* ---- events: written by two generations of reporters, which fill different fields ---- */

static int64_t event_first_us(kb_val event)
{
    int64_t us = kb__time_us(kb_val_get(event, "firstTimestamp"));
    return us != 0 ? us : kb__time_us(kb_val_get(event, "eventTime"));
}

static void event_first_seen(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb__cell_since(row, event_first_us(row->object), w);
}

static void event_last_seen(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_val series = kb_val_get(row->object, "series");
    int64_t us = kb__time_us(kb_val_get(row->object, "lastTimestamp"));
    if (kb_val_present(series))
        us = kb__time_us(kb_val_get(series, "lastObservedTime"));
    else if (us == 0)
        us = event_first_us(row->object);
    kb__cell_since(row, us, w);
}

static void event_count(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_val series = kb_val_get(row->object, "series");
    int64_t count = kb_val_int_at(row->object, "count", 0);
    if (kb_val_present(series))
        count = kb_val_int_at(series, "count", 0);
    else if (count == 0)
        count = 1;
    kb_w_int(w, count);
}

static void event_object(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str kind = kb_val_str_at(row->object, "involvedObject.kind");
    kb_str name = kb_val_str_at(row->object, "involvedObject.name");
    for (size_t i = 0; i < kind.n; i++)
        kb_buf_putc(&out,
                    kind.p[i] >= 'A' && kind.p[i] <= 'Z' ? (char)(kind.p[i] + 32) : kind.p[i]);
    if (name.n > 0) {
        kb_buf_putc(&out, '/');
        kb_buf_add_str(&out, name);
    }
    kb_w_str(w, kb_str_n(out.p, out.n));
}

static void event_source(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str component = kb_val_str_at(row->object, "source.component");
    kb_str host = kb_val_str_at(row->object, "source.host");
    kb_buf_add_str(&out,
                   component.n > 0 ? component : kb_val_str_at(row->object, "reportingComponent"));
    if (host.n == 0)
        host = kb_val_str_at(row->object, "reportingInstance");
    if (host.n > 0)
        kb_buf_printf(&out, ", " KB_STR_FMT, KB_STR_ARG(host));
    kb_w_str(w, kb_buf_str(&out));
}

kb__cell_fn kb__cell_kind(kb_str name)
{
    static const struct {
        const char *name;
        kb__cell_fn fn;
    } table[] = {
        {"node-status", node_status},           {"node-roles", node_roles},
        {"node-address", node_address},         {"service-external-ip", service_external_ip},
        {"service-ports", service_ports},       {"event-last-seen", event_last_seen},
        {"event-first-seen", event_first_seen}, {"event-count", event_count},
        {"event-object", event_object},         {"event-source", event_source},
    };
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (kb_str_is(name, table[i].name))
            return table[i].fn;
    return NULL;
}
