/* yaml.c - YAML documents into trees, through libyaml's events.
 *
 * WHY aliases are copied: a tree is changed in place afterwards, and a node that stands in two
 * places would change twice. Copies are charged to a budget for the whole stream, so that ten
 * lines of aliases to aliases cannot fill the memory. An anchor can be referred to once its node
 * is complete: a document cannot contain itself. */
#include "bus/model/yaml.h"

#include "bus/base/check.h"
#include "bus/base/limits.h"
#include "bus/model/read.h"
#include "bus/model/yaml_scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { ALIAS_NODES_MAX = 100000, MERGE_STEPS_MAX = 10000000 };

struct anchor {
    struct anchor *next;
    kb_str name;
    struct kb_node *node;
    bool open; /* its container is not closed yet */
};

struct kb_yaml {
    yaml_parser_t parser;
    const struct kb_read_opts *opts;
    size_t line;
    bool ended;
    /* of the document that is being read */
    struct kb__builder b;
    struct anchor *anchors;
    bool want_key[KB_DEPTH_MAX]; /* at depth + 1 */
    bool merges[KB_DEPTH_MAX];   /* the map has a "<<" */
    size_t budget;               /* nodes that aliases may still make */
    size_t at_line;              /* of the event */
    struct kb_err *err;
};

static const char too_deep[] = "yaml: line %zu: nested deeper than %u";
static const char too_many[] = "yaml: document contains excessive aliasing";

struct kb_yaml *kb_yaml_open(kb_str text)
{
    struct kb_yaml *y = calloc(1, sizeof(*y));
    KB_ASSERT(y != NULL && yaml_parser_initialize(&y->parser));
    yaml_parser_set_encoding(&y->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y->parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    y->budget = ALIAS_NODES_MAX;
    return y;
}

void kb_yaml_set_opts(struct kb_yaml *yaml, const struct kb_read_opts *opts)
{
    yaml->opts = opts;
}

size_t kb_yaml_line(const struct kb_yaml *yaml)
{
    return yaml->line;
}

void kb_yaml_close(struct kb_yaml **yaml_p)
{
    struct kb_yaml *y = KB_STEAL(*yaml_p);
    if (y == NULL)
        return;
    kb__builder_finish(&y->b);
    yaml_parser_delete(&y->parser);
    free(y);
}

/* ---- scalars ---- */

static int scalar_node(struct kb_yaml *y, const yaml_event_t *event, struct kb_node **ret)
{
    struct kb_arena *a = y->b.arena;
    kb_str text = kb_str_n((const char *)event->data.scalar.value, event->data.scalar.length);
    const char *tag = (const char *)event->data.scalar.tag;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag && strcmp(tag, YAML_STR_TAG) == 0)
        plain = false;
    else if (tag && strcmp(tag, "tag:yaml.org,2002:binary") == 0)
        return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: the tag !!binary is not supported",
                          y->at_line);
    else if (tag && strncmp(tag, "tag:yaml.org,2002:", 18) == 0)
        plain = true; /* !!int "3" */
    struct kb__scalar scalar = {.type = KB_STR};
    if (plain)
        scalar = kb__scalar_resolve(text);
    if (scalar.type == KB_DOUBLE && !isfinite(scalar.d))
        return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: %.40s is not a finite number",
                          y->at_line, text.p);
    *ret = scalar.type == KB_NIL      ? kb_node_nil(a)
           : scalar.type == KB_BOOL   ? kb_node_bool(a, scalar.b)
           : scalar.type == KB_INT    ? kb_node_int(a, scalar.i)
           : scalar.type == KB_DOUBLE ? kb_node_double(a, scalar.d)
                                      : kb_node_str(a, text);
    return 0;
}

/* A key is text: numbers and booleans are written as JSON writes them. */
static int key_text(struct kb_yaml *y, const struct kb_node *node, struct kb_buf *out)
{
    switch (node->type) {
    case KB_STR:
        kb_buf_add_str(out, node->s);
        return 0;
    case KB_INT:
    case KB_DOUBLE:
    case KB_BOOL:
        kb_json_write_node(out, node, 0);
        return 0;
    default:
        return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: a map's key must be text",
                          y->at_line);
    }
}

/* ---- anchors ---- */

static void anchor_add(struct kb_yaml *y, const yaml_char_t *name, struct kb_node *node, bool open)
{
    if (name == NULL)
        return;
    struct anchor *anchor = kb_arena_alloc(y->b.arena, sizeof(*anchor));
    *anchor = (struct anchor){y->anchors, kb_arena_str(y->b.arena, kb_str_of((const char *)name)),
                              node, open};
    y->anchors = anchor;
}

static void anchor_close(struct kb_yaml *y, const struct kb_node *node)
{
    for (struct anchor *anchor = y->anchors; anchor; anchor = anchor->next)
        if (anchor->node == node) {
            anchor->open = false;
            return;
        }
}

/* A deep copy at nesting `depth`, charged to the budget. */
static int alias_copy(struct kb_yaml *y, const struct kb_node *from, size_t depth,
                      struct kb_node **ret)
{
    struct kb_arena *a = y->b.arena;
    if (y->budget == 0)
        return kb_err_set(y->err, KB_E2BIG, "%s", too_many);
    y->budget--;
    if (from->type != KB_MAP && from->type != KB_ARRAY) {
        *ret = kb_node_copy(a, from);
        return 0;
    }
    if (depth >= KB_DEPTH_MAX)
        return kb_err_set(y->err, KB_E2BIG, too_deep, y->at_line, KB_DEPTH_MAX);
    struct kb_node *to = from->type == KB_MAP ? kb_node_map(a) : kb_node_array(a);
    for (uint32_t i = 0; i < from->count; i++) {
        struct kb_node *item;
        int rc = alias_copy(y, from->items[i].val, depth + 1, &item);
        if (rc < 0)
            return rc;
        kb_node_insert(a, to, to->count, item);
        to->items[i].key = from->items[i].key;
    }
    *ret = to;
    return 0;
}

static int alias_node(struct kb_yaml *y, const yaml_event_t *event, struct kb_node **ret)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = y->anchors;
    while (anchor && !kb_str_is(anchor->name, name))
        anchor = anchor->next;
    if (anchor == NULL)
        return kb_err_set(y->err, KB_EINVAL, "yaml: unknown anchor '%.80s' referenced", name);
    if (anchor->open)
        return kb_err_set(y->err, KB_EINVAL, "yaml: anchor '%.80s' value contains itself", name);
    return alias_copy(y, anchor->node, y->b.depth, ret);
}

/* ---- merging ---- */

static int merge_map(struct kb_yaml *y, struct kb_node *into, const struct kb_node *from,
                     size_t *steps)
{
    if (from->type != KB_MAP)
        return kb_err_set(y->err, KB_EINVAL,
                          "yaml: line %zu: map merge requires map or sequence of maps as the value",
                          y->at_line);
    *steps += (size_t)from->count * (into->count + from->count);
    if (*steps > MERGE_STEPS_MAX)
        return kb_err_set(y->err, KB_E2BIG, "%s", too_many);
    for (uint32_t i = 0; i < from->count; i++)
        if (kb_node_getn(into, from->items[i].key) == NULL)
            kb_node_putn(y->b.arena, into, from->items[i].key, from->items[i].val);
    return 0;
}

/* The map at the top is complete: what "<<" names is added where the map itself says nothing. */
static int merge_close(struct kb_yaml *y, struct kb_node *map)
{
    size_t steps = 0;
    const struct kb_node *from = kb_node_get(map, "<<");
    kb_node_del(map, "<<");
    if (from->type != KB_ARRAY)
        return merge_map(y, map, from, &steps);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < from->count; i++)
        rc = merge_map(y, map, from->items[i].val, &steps);
    return rc;
}

/* ---- events ---- */

static bool key_is_next(const struct kb_yaml *y)
{
    return y->b.depth && y->want_key[y->b.depth - 1];
}

/* The value that a key was waiting for has come. */
static void value_done(struct kb_yaml *y)
{
    if (y->b.depth && y->b.levels[y->b.depth - 1].node->type == KB_MAP)
        y->want_key[y->b.depth - 1] = true;
}

static int take_key(struct kb_yaml *y, const struct kb_node *node, bool plain)
{
    KB_AUTO(kb_buf_finish) struct kb_buf key = {0};
    int rc = key_text(y, node, &key);
    if (rc < 0)
        return rc;
    kb__builder_key(&y->b, kb_buf_str(&key));
    if (kb__builder_repeated(&y->b) && !(y->opts && y->opts->duplicate))
        return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: key \"%.120s\" already set in map",
                          y->at_line, key.p ? key.p : "");
    if (plain && kb_str_is(kb_buf_str(&key), "<<"))
        y->merges[y->b.depth - 1] = true;
    y->want_key[y->b.depth - 1] = false;
    return 0;
}

static int take_leaf(struct kb_yaml *y, struct kb_node *node, bool plain)
{
    if (key_is_next(y))
        return take_key(y, node, plain);
    kb__builder_add(&y->b, node);
    value_done(y);
    return 0;
}

static int take_alias(struct kb_yaml *y, const yaml_event_t *event)
{
    struct kb_node *node = NULL;
    int rc = alias_node(y, event, &node);
    return rc < 0 ? rc : take_leaf(y, node, false);
}

static int take_scalar(struct kb_yaml *y, const yaml_event_t *event)
{
    struct kb_node *node = NULL;
    int rc = scalar_node(y, event, &node);
    if (rc < 0)
        return rc;
    anchor_add(y, event->data.scalar.anchor, node, false);
    return take_leaf(y, node, event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE);
}

static int take_open(struct kb_yaml *y, const yaml_event_t *event)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    if (key_is_next(y))
        return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: a map's key must be text",
                          y->at_line);
    struct kb_node *node = map ? kb_node_map(y->b.arena) : kb_node_array(y->b.arena);
    if (!kb__builder_open(&y->b, node))
        return kb_err_set(y->err, KB_E2BIG, too_deep, y->at_line, KB_DEPTH_MAX);
    y->want_key[y->b.depth - 1] = map;
    y->merges[y->b.depth - 1] = false;
    anchor_add(y, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, node,
               true);
    return 0;
}

static int take_close(struct kb_yaml *y)
{
    struct kb_node *node = y->b.levels[y->b.depth - 1].node;
    bool merges = node->type == KB_MAP && y->merges[y->b.depth - 1];
    kb__builder_close(&y->b);
    anchor_close(y, node);
    value_done(y);
    return merges ? merge_close(y, node) : 0;
}

/* 1: the document or the stream has ended. */
static int take_event(struct kb_yaml *y, const yaml_event_t *event)
{
    y->at_line = event->start_mark.line + 1;
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        y->ended = true;
        return 1;
    case YAML_DOCUMENT_START_EVENT:
        y->line = y->at_line;
        return 0;
    case YAML_DOCUMENT_END_EVENT:
        return 1;
    case YAML_ALIAS_EVENT:
        return take_alias(y, event);
    case YAML_SCALAR_EVENT:
        return take_scalar(y, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return take_open(y, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return take_close(y);
    default:
        return 0;
    }
}

static int parser_error(struct kb_yaml *y)
{
    size_t line = y->parser.problem_mark.line;
    const char *problem = y->parser.problem ? y->parser.problem : "unknown problem";
    if (y->parser.error == YAML_READER_ERROR)
        return kb_err_set(y->err, KB_EINVAL, "yaml: %s at byte %zu", problem,
                          y->parser.problem_offset);
    return kb_err_set(y->err, KB_EINVAL, "yaml: line %zu: %s", line + 1, problem);
}

static int read_document(struct kb_yaml *y)
{
    int rc = 0;
    while (rc == 0) {
        yaml_event_t event;
        if (!yaml_parser_parse(&y->parser, &event))
            return parser_error(y);
        rc = take_event(y, &event);
        yaml_event_delete(&event);
    }
    return rc < 0 ? rc : 0;
}

int kb_yaml_next(struct kb_yaml *yaml, struct kb_arena *a, struct kb_node **ret_node,
                 struct kb_err *err)
{
    while (!yaml->ended) {
        yaml->b = (struct kb__builder){.arena = a, .opts = yaml->opts};
        yaml->anchors = NULL;
        yaml->err = err;
        int rc = read_document(yaml);
        struct kb_node *root = yaml->b.root;
        kb__builder_finish(&yaml->b);
        if (rc < 0) {
            yaml->ended = true;
            return rc;
        }
        if (root && root->type != KB_NIL) {
            *ret_node = root;
            return 1;
        }
    }
    return 0;
}

int kb_yaml_parse(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                  struct kb_node **ret_docs, struct kb_err *err)
{
    KB_AUTO(kb_yaml_close) struct kb_yaml *y = kb_yaml_open(text);
    struct kb_node *docs = kb_node_array(a), *node;
    int rc;
    kb_yaml_set_opts(y, opts);
    while ((rc = kb_yaml_next(y, a, &node, err)) == 1)
        kb_node_append(a, docs, node);
    if (rc == 0)
        *ret_docs = docs;
    return rc;
}

int kb_yaml_parse_one(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                      struct kb_node **ret_node, struct kb_err *err)
{
    struct kb_node *docs;
    int rc = kb_yaml_parse(a, text, opts, &docs, err);
    if (rc < 0)
        return rc;
    if (docs->count > 1)
        return kb_err_set(err, KB_EINVAL, "yaml: only one document is expected");
    *ret_node = docs->count ? docs->items[0].val : kb_node_nil(a);
    return 0;
}
