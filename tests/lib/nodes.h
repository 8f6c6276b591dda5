/* Trees from JSON and back, for tests of what edits them. */
#ifndef KUBUS_TESTS_LIB_NODES_H
#define KUBUS_TESTS_LIB_NODES_H

#include "bus/model/json.h"
#include "tests/lib/test.h"

/* In the arena. A mistake in the text fails the test. */
static inline struct kb_node *kb_test_node(struct kb_arena *a, const char *json)
{
    struct kb_err err = {0};
    struct kb_node *node = NULL;
    KB_CHECK_OK(kb_json_parse(a, kb_str_of(json), NULL, &node, &err), &err);
    return node;
}

/* As JSON with sorted keys; lives as long as the arena. */
static inline const char *kb_test_node_text(struct kb_arena *a, const struct kb_node *node)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_json_write_node(&out, node, KB_JSON_SORTED);
    return kb_arena_str(a, kb_buf_str(&out)).p;
}

#endif
