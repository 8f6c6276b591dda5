#include "store/engine_int.h"

#include "bus/base/grow.h"

#include <endian.h>
#include <stdlib.h>

struct kb__gen *kb__gen_new(void)
{
    struct kb__gen *gen = calloc(1, sizeof(*gen));
    KB_ASSERT(gen != NULL);
    gen->side_end = &gen->side;
    gen->born_ms = -1;
    return gen;
}

void kb__gen_destroy(struct kb__gen **gen_p)
{
    struct kb__gen *gen = KB_STEAL(*gen_p);
    if (gen == NULL)
        return;
    kb_arena_finish(&gen->arena);
    free(gen->order);
    free(gen);
}

void kb__ttl_key(int64_t expires_ms, struct kb_vid id, uint8_t out[KB__TTL_KEY_BYTES])
{
    uint64_t when = htobe64((uint64_t)expires_ms);
    memcpy(out, &when, sizeof(when));
    kb_vid_put(id, out + sizeof(when));
}

/* Count the entries of a version up or down; entries with a count of zero are not applied. */
static void count_entries(struct kb__gen *gen, const struct kb_indices *indices,
                          const struct kb_record *rec, int step)
{
    struct kb_key key;
    if (rec->deleted || kb_key_parse(rec->key, &key, NULL) < 0)
        return;
    const struct kb_resource *resource = kb_indices_of(indices, key.resource);
    for (size_t i = 0; resource && i < resource->n; i++) {
        char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_VAL_TEXT_BYTES];
        kb_str value = kb_index_value(resource->indices[i].path, kb__doc_val(rec->doc), scratch);
        size_t n = kb_index_entry(resource->indices[i].id, value, key, entry);
        struct kb_skip_node *node = kb_skip_add(&gen->index, &gen->arena, kb_str_n(entry, n));
        node->value = (void *)((uintptr_t)node->value + (uintptr_t)(intptr_t)step);
    }
}

struct kb__version *kb__gen_add(struct kb__gen *gen, const struct kb_indices *indices,
                                const struct kb_record *record)
{
    struct kb__version *v = kb_arena_alloc(&gen->arena, sizeof(*v));
    v->bytes = kb_record_encode(&gen->arena, record);
    v->rec = *record;
    v->rec.key = kb_str_n(v->bytes.p + v->bytes.n - record->doc.n - record->key.n, record->key.n);
    v->rec.doc = kb_str_n(v->bytes.p + v->bytes.n - record->doc.n, record->doc.n);
    v->node = kb_skip_add(&gen->keys, &gen->arena, record->key);
    v->older = v->node->value;
    v->node->value = v;
    KB_GROW(gen->order, gen->n, gen->cap, 256);
    gen->order[gen->n++] = v;
    gen->bytes += v->bytes.n + sizeof(*v) + 64;
    if (record->expires_ms) {
        uint8_t when[KB__TTL_KEY_BYTES];
        kb__ttl_key(record->expires_ms, record->id, when);
        kb_skip_add(&gen->ttl, &gen->arena, kb_str_n((char *)when, sizeof(when)))->value = v;
    }
    count_entries(gen, indices, &v->rec, 1);
    return v;
}

void kb__gen_undo(struct kb__gen *gen, const struct kb_indices *indices)
{
    struct kb__version *v = gen->order[--gen->n];
    KB_ASSERT(v->node->value == v);
    v->node->value = v->older;
    gen->bytes -= v->bytes.n + sizeof(*v) + 64;
    if (v->rec.expires_ms) {
        uint8_t when[KB__TTL_KEY_BYTES];
        kb__ttl_key(v->rec.expires_ms, v->rec.id, when);
        kb_skip_find(&gen->ttl, kb_str_n((char *)when, sizeof(when)))->value = NULL;
    }
    count_entries(gen, indices, &v->rec, -1);
}

void kb__gen_add_side(struct kb__gen *gen, enum kb_entry_type type, kb_str bytes)
{
    struct kb__side *side = kb_arena_alloc(&gen->arena, sizeof(*side));
    *side = (struct kb__side){.type = type, .bytes = kb_arena_str(&gen->arena, bytes)};
    *gen->side_end = side;
    gen->side_end = &side->next;
    gen->bytes += bytes.n + sizeof(*side);
}

struct kb__version *kb__gen_from(const struct kb__gen *gen, struct kb_vid id)
{
    size_t low = 0, high = gen ? gen->n : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct kb_vid at = gen->order[mid]->rec.id;
        if (at.rev < id.rev || (at.rev == id.rev && at.idx < id.idx))
            low = mid + 1;
        else
            high = mid;
    }
    return gen && low < gen->n ? gen->order[low] : NULL;
}

struct kb__version *kb__gen_find(const struct kb__gen *gen, struct kb_vid id)
{
    struct kb__version *v = kb__gen_from(gen, id);
    return v && kb_vid_eq(v->rec.id, id) ? v : NULL;
}
