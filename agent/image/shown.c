#include "agent/image/shown.h"

#include "agent/image/image.h"
#include "bus/base/buf.h"
#include "bus/model/node.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { SHOWN_MAX = 50, SETTLED_US = 1000000 };

static struct kb_node *entry_of(const struct kb_node *list, const char *id)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (kb_str_is(kb_node_text(kb_node_get(list->items[i].val, "names")->items[0].val), id))
            return list->items[i].val;
    return NULL;
}

static void list_one(struct kb_arena *a, struct kb_node *list, const struct kb_image *image)
{
    struct kb_node *entry = entry_of(list, image->id);
    if (entry == NULL) {
        struct kb_node *names = kb_node_array(a);
        entry = kb_node_map(a);
        kb_node_append(a, names, kb_node_cstr(a, image->id));
        kb_node_put(a, entry, "names", names);
        kb_node_set_int(a, entry, "sizeBytes", (int64_t)image->size_bytes);
        kb_node_append(a, list, entry);
    }
    if (strcmp(image->name, image->id) != 0)
        kb_node_append(a, kb_node_get(entry, "names"), kb_node_cstr(a, image->name));
}

static int by_size(const void *x, const void *y)
{
    const struct kb_member *a = x, *b = y;
    int64_t one = kb_node_num(kb_node_get(a->val, "sizeBytes"), 0);
    int64_t other = kb_node_num(kb_node_get(b->val, "sizeBytes"), 0);
    return one > other ? -1 : one < other;
}

static struct kb_doc *scan(const char *dir)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf names = {0};
    struct kb_arena *a = &arena;
    struct kb_node *list = kb_node_array(a);
    kb_image_list(dir, &names);
    for (kb_str rest = kb_buf_str(&names); rest.p != NULL && rest.n > 0;) {
        KB_AUTO(kb_image_finish) struct kb_image image = {0};
        struct kb_err err = {0};
        const char *name = kb_arena_str(a, kb_str_cut(&rest, '\n')).p;
        if (*name && kb_image_open(dir, name, &image, &err) == 0)
            list_one(a, list, &image);
    }
    if (list->count > 1)
        qsort(list->items, list->count, sizeof(*list->items), by_size);
    if (list->count > SHOWN_MAX)
        list->count = SHOWN_MAX;
    return kb_node_doc(list);
}

/* When the folder of references has changed last; 0: it is not there. */
static int64_t changed_us(const char *dir)
{
    KB_AUTO(kb_auto_free) char *refs = kb_strf("%s/refs", dir);
    struct stat st;
    if (stat(refs, &st) < 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
}

kb_val kb_images_shown(struct kb_images_shown *shown, const char *dir, int64_t wall_us)
{
    int64_t changed = changed_us(dir); /* before it is read: what comes meanwhile is seen later */
    if (shown->list == NULL || shown->changed_us != changed) {
        kb_doc_destroy(&shown->list);
        shown->list = scan(dir);
        shown->changed_us = wall_us - changed < SETTLED_US ? -1 : changed;
        shown->scans++;
    }
    return kb_doc_root(shown->list);
}

void kb_images_shown_finish(struct kb_images_shown *shown)
{
    kb_doc_destroy(&shown->list);
    *shown = (struct kb_images_shown){0};
}
