#include "bus/model/fence.h"

#include "bus/base/sm.h"

#include <stdlib.h>

enum { HOLD_MS = 24 * 3600 * 1000 };
enum { WANTED, ASKED, HELD };

static const struct kb_sm_state states[] = {
    [WANTED] = {"Wanted", KB_SM_TO(ASKED)},
    [ASKED] = {"Asked", KB_SM_TO(HELD) | KB_SM_TO(WANTED)},
    [HELD] = {"Held", KB_SM_TO(WANTED)},
};

void kb_fence_init(struct kb_fence *fence, const char *lease)
{
    *fence = (struct kb_fence){.lease = kb_strf("%s", lease), .state = WANTED};
}

void kb_fence_finish(struct kb_fence *fence)
{
    free(fence->lease);
    *fence = (struct kb_fence){0};
}

bool kb_fence_ask(struct kb_fence *fence, kb_ms now_ms, const char *holder, struct kb_w *body)
{
    if (fence->state != WANTED || now_ms < fence->due_ms)
        return false;
    kb_sm_move(states, &fence->state, ASKED, fence->lease);
    kb_w_map(body);
    kb_w_kcstr(body, "name", fence->lease);
    kb_w_kcstr(body, "holder", holder);
    kb_w_kint(body, "ttl_ms", HOLD_MS);
    kb_w_end(body);
    return true;
}

bool kb_fence_answer(struct kb_fence *fence, const struct kb_err *err, kb_val body, kb_ms now_ms)
{
    if (err != NULL) {
        kb_sm_move(states, &fence->state, WANTED, fence->lease);
        fence->due_ms = now_ms + KB_FENCE_AGAIN_MS;
        return false;
    }
    kb_sm_move(states, &fence->state, HELD, fence->lease);
    fence->epoch = kb_val_int(kb_val_get(body, "epoch"), 0);
    fence->rev = kb_val_int(kb_val_get(body, "rev"), 0);
    return true;
}

bool kb_fence_doubt(struct kb_fence *fence, int64_t epoch, kb_ms now_ms)
{
    if (fence->state != HELD)
        return true;
    if (epoch != fence->epoch)
        return false;
    kb_sm_move(states, &fence->state, WANTED, fence->lease);
    fence->due_ms = now_ms;
    return true;
}

bool kb_fence_holds(const struct kb_fence *fence)
{
    return fence->state == HELD;
}

void kb_fence_write(const struct kb_fence *fence, struct kb_w *w)
{
    kb_w_kmap(w, "lease");
    kb_w_kcstr(w, "name", fence->lease);
    kb_w_kint(w, "epoch", fence->epoch);
    kb_w_end(w);
}

kb_ms kb_fence_wait_ms(const struct kb_fence *fence, kb_ms now_ms)
{
    if (fence->state != WANTED)
        return -1;
    return fence->due_ms > now_ms ? fence->due_ms - now_ms : 0;
}
