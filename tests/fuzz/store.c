/* Requests to the store: the first byte of a run names the method, the second (of two) the length
 * of the body that follows, and so on. All go to one store, whose state lives on from input to
 * input. */
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "store/store_core.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static struct kb_engine *engine;
static struct kb_store_core *core;
static char dir[] = "/tmp/kubus-fuzz-store-XXXXXX";

static int no_sync(const struct kb_io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}

static void clean(void)
{
    kb_store_core_destroy(&core);
    kb_engine_close(&engine);
    kb_dir_remove(dir, NULL);
}

static void start(void)
{
    static struct kb_io io;
    struct kb_err err;
    io = *kb_io_system();
    io.sync = no_sync;
    struct kb_engine_config config = {.dir = mkdtemp(dir), .io = &io, .seed = 1};
    struct kb_store_config store = {.history_s = 1};
    KB_ASSERT(config.dir != NULL && kb_engine_open(&config, &engine, &err) == 0);
    core = kb_store_core_new(&store, engine);
    atexit(clean);
}

static void drain(struct kb_store_time time)
{
    struct kb_store_wish wish;
    kb_store_core_step(core, time);
    while (kb_store_core_next(core, &wish))
        if (wish.body.p)
            KB_ASSERT(kb_val_check(wish.body.p, (size_t)(wish.body.end - wish.body.p), &wish.body,
                                   NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct kb_store_time time = {1, 1000};
    static int token;
    if (core == NULL)
        start();
    while (n > 2) {
        size_t bytes = data[1] < n - 2 ? data[1] : n - 2;
        kb_val body;
        int method = data[0] % (KB_STORE_METHODS + 1);
        time.now_ms += data[0];
        time.wall_ms += data[0];
        if (method == KB_STORE_METHODS) {
            char topic[256] = {0};
            memcpy(topic, data + 2, bytes);
            kb_store_core_subscribe(core, kb_str_n(topic, strlen(topic) + 1), data[0] & 128);
        } else if (method != KB_STORE_BACKUP && /* writes where it is told */
                   kb_val_check(data + 2, bytes, &body, NULL) == 0) {
            kb_store_core_request(core, (enum kb_store_method)method, &token, body, time);
        }
        drain(time);
        data += 2 + bytes;
        n -= 2 + bytes;
    }
    for (int i = 0; i < 100 && !kb_store_core_idle(core); i++)
        drain(time); /* bodies are borrowed until they are answered */
    KB_ASSERT(kb_store_core_idle(core));
    return 0;
}
