#include "bus/model/patch.h"

#include "bus/base/limits.h"
#include "bus/model/patch_index.h"

/* ---- JSON Pointer, RFC 6901 ---- */

/* One step, with ~1 and ~0 undone. */
static kb_str unescape(struct kb_arena *a, kb_str step)
{
    if (!kb_str_has(step, '~'))
        return step;
    char *out = kb_arena_alloc(a, step.n);
    size_t n = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (step.p[i] == '~' && i + 1 < step.n && (step.p[i + 1] == '0' || step.p[i + 1] == '1'))
            out[n++] = step.p[++i] == '0' ? '~' : '/';
        else
            out[n++] = step.p[i];
    }
    return kb_str_n(out, n);
}

/* A list index without leading zeros; `-` is one behind the last. */
static bool list_index(const struct kb_node *list, kb_str step, bool adding, size_t *ret)
{
    uint64_t index;
    if (kb_str_is(step, "-")) {
        *ret = list->count;
        return adding;
    }
    if (!kb_str_u64(step, &index) || (step.n > 1 && step.p[0] == '0'))
        return false;
    *ret = (size_t)index;
    return index < list->count || (adding && index == list->count);
}

static struct kb_node *child(const struct kb_node *node, kb_str step)
{
    size_t index;
    if (node->type == KB_MAP)
        return kb_node_getn(node, step);
    if (node->type == KB_ARRAY && list_index(node, step, false, &index))
        return node->items[index].val;
    return NULL;
}

struct place {
    struct kb_node *parent; /* NULL: the pointer means the whole document */
    kb_str last;
    unsigned depth; /* of what stands there */
};

struct json_patch {
    struct kb_arena *a;
    struct kb_node *root;
    size_t copied; /* nodes that were copied or moved */
    size_t walked; /* members that were looked at, or moved aside for others */
    struct kb_err *err;
};

/* Thousands of operations on one long list would keep everybody waiting. */
static int walk(struct json_patch *p, const struct kb_node *at)
{
    enum { WALKED_MAX = 50000000 };
    p->walked += at->type == KB_MAP || at->type == KB_ARRAY ? at->count : 0;
    return p->walked <= WALKED_MAX
               ? 0
               : kb_err_set(p->err, KB_E2BIG, "the patch has too many operations on long lists");
}

static int find_place(struct json_patch *p, kb_str pointer, struct place *ret)
{
    *ret = (struct place){0};
    if (pointer.n == 0)
        return 0;
    if (pointer.p[0] != '/')
        return kb_err_set(p->err, KB_EINVAL, "JSON Pointer '" KB_STR_FMT "' does not begin with /",
                          KB_STR_ARG(pointer));
    kb_str rest = kb_str_n(pointer.p + 1, pointer.n - 1);
    struct kb_node *at = p->root;
    for (unsigned depth = 1;; depth++) {
        kb_str step = unescape(p->a, kb_str_cut(&rest, '/'));
        if (walk(p, at) < 0)
            return -p->err->code;
        if (rest.p == NULL) {
            *ret = (struct place){at, step, depth};
            return 0;
        }
        at = child(at, step);
        if (at == NULL)
            return kb_err_set(p->err, KB_EUNPROCESSABLE,
                              "the server rejected our request due to an error in our request: "
                              "path " KB_STR_FMT " does not exist",
                              KB_STR_ARG(pointer));
    }
}

static int missing(struct json_patch *p, const char *op, kb_str path)
{
    return kb_err_set(p->err, KB_EUNPROCESSABLE,
                      "the server rejected our request due to an error in our request: %s "
                      "operation does not apply: doc is missing path: " KB_STR_FMT,
                      op, KB_STR_ARG(path));
}

static struct kb_node *place_get(struct json_patch *p, struct place place)
{
    return place.parent ? child(place.parent, place.last) : p->root;
}

static unsigned depth_of(const struct kb_node *node)
{
    unsigned deepest = 0;
    if (node->type != KB_MAP && node->type != KB_ARRAY)
        return 0;
    for (uint32_t i = 0; i < node->count; i++) {
        unsigned depth = depth_of(node->items[i].val);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

/* Copies of copies would nest as deep as the patch is long, and more. */
static int check_depth(struct json_patch *p, struct place place, const struct kb_node *value)
{
    return place.depth + depth_of(value) <= KB_DEPTH_MAX
               ? 0
               : kb_err_set(p->err, KB_E2BIG, "the patch nests deeper than %u", KB_DEPTH_MAX);
}

static int op_add(struct json_patch *p, kb_str path, struct kb_node *value)
{
    struct place place;
    size_t index;
    int rc = find_place(p, path, &place);
    if (rc == 0)
        rc = check_depth(p, place, value);
    if (rc < 0)
        return rc;
    if (place.parent == NULL) {
        p->root = value;
        return 0;
    }
    if (place.parent->type == KB_MAP) {
        kb_node_putn(p->a, place.parent, place.last, value);
        return 0;
    }
    if (place.parent->type != KB_ARRAY || !list_index(place.parent, place.last, true, &index))
        return missing(p, "add", path);
    kb_node_insert(p->a, place.parent, index, value);
    return 0;
}

static int op_remove(struct json_patch *p, const char *op, kb_str path)
{
    struct place place;
    size_t index;
    int rc = find_place(p, path, &place);
    if (rc < 0)
        return rc;
    if (place.parent == NULL || place_get(p, place) == NULL)
        return missing(p, op, path);
    if (place.parent->type == KB_MAP)
        kb_node_deln(place.parent, place.last);
    else if (list_index(place.parent, place.last, false, &index))
        kb_node_remove(place.parent, index);
    return 0;
}

static int op_replace(struct json_patch *p, kb_str path, struct kb_node *value)
{
    struct place place;
    size_t index;
    int rc = find_place(p, path, &place);
    if (rc < 0)
        return rc;
    if (place_get(p, place) == NULL)
        return missing(p, "replace", path);
    rc = check_depth(p, place, value);
    if (rc < 0)
        return rc;
    if (place.parent == NULL)
        p->root = value;
    else if (place.parent->type == KB_MAP)
        kb_node_putn(p->a, place.parent, place.last, value);
    else if (list_index(place.parent, place.last, false, &index))
        place.parent->items[index].val = value;
    return 0;
}

static int op_test(struct json_patch *p, kb_str path, const struct kb_node *value)
{
    struct place place;
    struct kb_node nil = {.type = KB_NIL};
    int rc = find_place(p, path, &place);
    if (rc < 0)
        return rc;
    const struct kb_node *have = place_get(p, place);
    if (!kb_node_equal(have ? have : &nil, value))
        return kb_err_set(p->err, KB_EUNPROCESSABLE,
                          "the server rejected our request due to an error in our request: testing "
                          "value " KB_STR_FMT " failed",
                          KB_STR_ARG(path));
    return 0;
}

static size_t count_nodes(const struct kb_node *node)
{
    size_t n = 1;
    if (node->type == KB_MAP || node->type == KB_ARRAY)
        for (uint32_t i = 0; i < node->count; i++)
            n += count_nodes(node->items[i].val);
    return n;
}

static bool is_below(kb_str path, kb_str above)
{
    return path.n > above.n && memcmp(path.p, above.p, above.n) == 0 && path.p[above.n] == '/';
}

static int op_move_or_copy(struct json_patch *p, bool move, kb_str from, kb_str path)
{
    enum { COPIED_MAX = 1000000 };
    struct place place;
    int rc = find_place(p, from, &place);
    if (rc < 0)
        return rc;
    struct kb_node *value = place_get(p, place);
    if (value == NULL)
        return missing(p, move ? "move" : "copy", from);
    p->copied += count_nodes(value);
    if (p->copied > COPIED_MAX)
        return kb_err_set(p->err, KB_E2BIG, "the patch copies too much");
    if (move) {
        if (is_below(path, from))
            return missing(p, "move", path);
        rc = op_remove(p, "move", from);
        return rc < 0 ? rc : op_add(p, path, value);
    }
    return op_add(p, path, kb_node_copy(p->a, value));
}

static int apply_op(struct json_patch *p, const struct kb_node *op)
{
    kb_str name = kb_node_text(kb_node_get(op, "op"));
    const struct kb_node *path = kb_node_get(op, "path"), *from = kb_node_get(op, "from");
    struct kb_node *value = kb_node_get(op, "value");
    bool takes_value =
        kb_str_is(name, "add") || kb_str_is(name, "replace") || kb_str_is(name, "test");
    bool takes_from = kb_str_is(name, "move") || kb_str_is(name, "copy");
    if (path == NULL || path->type != KB_STR)
        return kb_err_set(p->err, KB_EINVAL, "a patch operation needs a path");
    if (takes_value && value == NULL)
        return kb_err_set(p->err, KB_EINVAL, "patch operation " KB_STR_FMT " needs a value",
                          KB_STR_ARG(name));
    if (takes_from && (from == NULL || from->type != KB_STR))
        return kb_err_set(p->err, KB_EINVAL, "patch operation " KB_STR_FMT " needs from",
                          KB_STR_ARG(name));
    if (kb_str_is(name, "add"))
        return op_add(p, path->s, kb_node_copy(p->a, value));
    if (kb_str_is(name, "replace"))
        return op_replace(p, path->s, kb_node_copy(p->a, value));
    if (kb_str_is(name, "test"))
        return op_test(p, path->s, value);
    if (kb_str_is(name, "remove"))
        return op_remove(p, "remove", path->s);
    if (takes_from)
        return op_move_or_copy(p, kb_str_is(name, "move"), from->s, path->s);
    return kb_err_set(p->err, KB_EINVAL, "unknown patch operation '" KB_STR_FMT "'",
                      KB_STR_ARG(name));
}

int kb_patch_json(struct kb_arena *a, struct kb_node **target, const struct kb_node *patch,
                  struct kb_err *err)
{
    struct json_patch p = {.a = a, .root = *target, .err = err};
    if (patch == NULL || patch->type != KB_ARRAY)
        return kb_err_set(err, KB_EINVAL, "a JSON patch is a list of operations");
    if (patch->count > KB_JSON_PATCH_MAX_OPS)
        return kb_err_set(err, KB_E2BIG,
                          "the allowed maximum operations in a JSON patch is %d, got %u",
                          KB_JSON_PATCH_MAX_OPS, patch->count);
    for (uint32_t i = 0; i < patch->count; i++) {
        int rc = apply_op(&p, patch->items[i].val);
        if (rc < 0)
            return rc;
    }
    *target = p.root;
    return 0;
}

/* ---- merge patch ---- */

void kb_patch_merge(struct kb_arena *a, struct kb_node **target, struct kb_node *patch)
{
    if (patch->type != KB_MAP) {
        *target = patch;
        return;
    }
    if (*target == NULL || (*target)->type != KB_MAP)
        *target = kb_node_map(a);
    KB_AUTO(kb__member_index_finish) struct kb__member_index index;
    kb__member_index_init(&index, *target, patch->count);
    for (uint32_t i = 0; i < patch->count; i++) {
        kb_str key = patch->items[i].key;
        if (patch->items[i].val->type == KB_NIL) {
            kb__member_del(&index, *target, key);
            continue;
        }
        struct kb_node *before = kb__member_get(&index, *target, key), *after = before;
        kb_patch_merge(a, &after, patch->items[i].val);
        if (after != before)
            kb__member_put(&index, a, *target, key, before, after);
    }
    kb__members_sweep(&index, *target);
}

struct kb_node *kb_patch_diff(struct kb_arena *a, const struct kb_node *from,
                              const struct kb_node *to)
{
    struct kb_node *patch = kb_node_map(a);
    for (uint32_t i = 0; i < to->count; i++) {
        const struct kb_member *want = &to->items[i];
        const struct kb_node *have = kb_node_getn(from, want->key);
        if (have && have->type == KB_MAP && want->val->type == KB_MAP) {
            struct kb_node *inner = kb_patch_diff(a, have, want->val);
            if (inner->count)
                kb_node_putn(a, patch, want->key, inner);
        } else if (!kb_node_equal(have, want->val)) {
            kb_node_putn(a, patch, want->key, kb_node_copy(a, want->val));
        }
    }
    for (uint32_t i = 0; i < from->count; i++)
        if (kb_node_getn(to, from->items[i].key) == NULL)
            kb_node_putn(a, patch, from->items[i].key, kb_node_nil(a));
    return patch;
}
