#include "tests/lib/simstore.h"

#include "store/store_actor.h"
#include "tests/lib/test.h"

struct kb_store *simstore_start(struct kb_actor *actor, const char *dir)
{
    struct kb_err err = {0};
    struct kb_store *store = NULL;
    struct kb_engine_config engine = {0}; /* no threads: all happens in the loop */
    struct kb_store_config config = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/store", dir);
    KB_CHECK_OK(kb_store_start(actor, path, &engine, &config, &store, &err), &err);
    return store;
}

void simstore_stop(struct kb_store **store_p)
{
    kb_store_destroy(store_p);
}
