/* ServiceAccounts: a pod is made only for one that exists.
 *
 * Known are those that the view has shown; about any other the store is asked, so that an account
 * which was made a moment ago is found, however late the view. What the store says is not kept: the
 * account may be deleted since, and the view have told it already; it would be known for good. A
 * namespace's `default` is written in one transaction with the namespace. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules_impl.h"

static char known[] = "known";

/* "NS/NAME"; false when that cannot be a key. */
static bool name_of(kb_str ns, kb_str name, char *out, size_t cap)
{
    if (ns.n + name.n + 2 > cap)
        return false;
    memcpy(out, ns.p, ns.n);
    out[ns.n] = '/';
    memcpy(out + ns.n + 1, name.p, name.n);
    out[ns.n + 1 + name.n] = '\0';
    return true;
}

void kb_objects_core_account(struct kb_objects_core *core, kb_str ns, kb_str name, bool there)
{
    char text[KB_KEY_MAX_BYTES + 1];
    if (!name_of(ns, name, text, sizeof(text)))
        return;
    if (there)
        kb_map_put(&core->accounts, kb_str_of(text), known);
    else
        kb_map_del(&core->accounts, kb_str_of(text));
}

static kb_str account_of(const struct kb_node *pod)
{
    const struct kb_node *spec = kb_node_get(pod, "spec");
    kb_str name = kb__text(spec, "serviceAccountName"), old = kb__text(spec, "serviceAccount");
    return name.n ? name : old.n ? old : kb_str_of("default");
}

static void not_found(struct kb_object_op *op, kb_str name)
{
    kb_str pod = kb__op_name(op), prefix = kb_node_text_at(op->body, "metadata.generateName");
    kb_status_forbidden(&op->status, &op->arena, op->kind, pod.n ? pod : prefix,
                        "error looking up service account " KB_STR_FMT "/" KB_STR_FMT
                        ": serviceaccount \"" KB_STR_FMT "\" not found",
                        KB_STR_ARG(op->req.ns), KB_STR_ARG(name), KB_STR_ARG(name));
    kb__op_fail(op);
}

bool kb__admit_account(struct kb_object_op *op)
{
    char text[KB_KEY_MAX_BYTES + 1];
    if (!kb_str_is(op->kind->resource, "pods"))
        return true;
    kb_str name = account_of(op->body);
    if (kb_format_check("dns1123-subdomain", name) != NULL)
        return true; /* validation says what is wrong with it */
    if (name_of(op->req.ns, name, text, sizeof(text)) &&
        kb_map_get(&op->core->accounts, kb_str_of(text)) != NULL)
        return true;
    kb__op_read_next(op, KB_STAGE_ACCOUNT, kb_str_of("serviceaccounts"), op->req.ns, name);
    return false;
}

void kb__account_read(struct kb_object_op *op, bool there)
{
    if (there)
        kb__op_create(op);
    else
        not_found(op, account_of(op->body));
}

static void committed(struct kb_object_op *op)
{
    if (op->removes)
        kb_objects_core_account(op->core, op->req.ns, kb__op_name(op), false);
}

const struct kb_logic kb__logic_serviceaccount = {
    .resource = "serviceaccounts",
    .returns_deleted = true,
    .committed = committed,
};
