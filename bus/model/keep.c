#include "bus/model/keep.h"

#include "bus/base/check.h"

#include <stdlib.h>

/* The member of a map, and those below it; none: all of it is kept. */
struct kb_keep {
    struct kb_keep *next, *below;
    bool whole;
    size_t n;
    char name[];
};

static struct kb_keep *member_new(kb_str name)
{
    struct kb_keep *member = calloc(1, sizeof(*member) + name.n);
    KB_ASSERT(member != NULL);
    member->n = name.n;
    if (name.n)
        memcpy(member->name, name.p, name.n);
    return member;
}

static struct kb_keep *member_find(const struct kb_keep *above, kb_str name)
{
    for (struct kb_keep *it = above->below; it; it = it->next)
        if (it->n == name.n && memcmp(it->name, name.p, name.n) == 0)
            return it;
    return NULL;
}

static void add_path(struct kb_keep *above, kb_str path)
{
    while (path.n > 0) {
        kb_str name = kb_str_cut(&path, '.');
        struct kb_keep *member = member_find(above, name);
        if (member == NULL) {
            member = member_new(name);
            member->next = above->below;
            above->below = member;
        }
        above = member;
    }
    above->whole = true;
}

struct kb_keep *kb_keep_new(kb_str paths)
{
    struct kb_keep *keep = member_new((kb_str){0});
    for (size_t at = 0, n; at < paths.n; at += n + 1) {
        for (n = 0; at + n < paths.n && paths.p[at + n] != ' ' && paths.p[at + n] != ','; n++)
            ;
        if (n > 0)
            add_path(keep, kb_str_n(paths.p + at, n));
    }
    return keep;
}

void kb_keep_destroy(struct kb_keep **keep_p)
{
    struct kb_keep *keep = KB_STEAL(*keep_p);
    if (keep == NULL)
        return;
    for (struct kb_keep *next; keep->below; keep->below = next) {
        next = keep->below->next;
        kb_keep_destroy(&keep->below);
    }
    free(keep);
}

void kb_keep_write(const struct kb_keep *keep, kb_val val, struct kb_w *w)
{
    if (keep->whole || kb_val_type(val) != KB_MAP) {
        kb_w_raw(w, val);
        return;
    }
    kb_w_map(w);
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);) {
        const struct kb_keep *member = member_find(keep, it.key);
        if (member == NULL)
            continue;
        kb_w_str(w, it.key);
        kb_keep_write(member, it.val, w);
    }
    kb_w_end(w);
}
