/* KeepOff: no pod on the node NOT. Two versions of it are built. */
#include <kubus/policy.h>

static int configure(const struct kb_policy_host *host, const char *args, void **ret, char *error,
                     size_t error_bytes)
{
    (void)args, (void)error, (void)error_bytes;
    uint32_t *name = malloc(sizeof(*name));
    *name = host->intern(host->core, NOT);
    *ret = name;
    return 0;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    uint32_t not = *(uint32_t *)c->instance;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = c->nodes->name[i] == not ;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "node(s) are " NOT);
}

KB_POLICY(KeepOff, .events = KB_POLICY_ON_NODE_ADD, .configure = configure, .unload = free,
          .filter = filter, .reason = reason);
