/* The compiled form of a schema. Private to this folder.
 *
 * A property is found by a perfect hash: at compile time a seed is searched for which all names of
 * an object fall into different slots, so a lookup is one hash and one comparison. Every walk over
 * an object first binds it: members to properties, into an array by property number. From then on
 * required fields, conditions and defaults are array accesses. */
#ifndef KUBUS_MODEL_SCHEMA_IMPL_H
#define KUBUS_MODEL_SCHEMA_IMPL_H

#include "bus/model/schema.h"

#include <regex.h>

enum kb__type {
    KB__ANY,
    KB__OBJECT,
    KB__LIST,
    KB__STRING,
    KB__INTEGER,
    KB__NUMBER,
    KB__BOOLEAN,
    KB__INT_OR_STRING,
};

enum { KB__NO_PROP = 0xffff };

/* {field: F, in|notIn: […]} | {field: F, pattern: RE} | {field: F, present: true} | nothing */
struct kb__cond {
    uint16_t prop; /* KB__NO_PROP: holds always */
    enum { KB__COND_IN, KB__COND_NOT_IN, KB__COND_PATTERN, KB__COND_PRESENT } how;
    const struct kb_node *values; /* a list */
    regex_t *pattern;
    bool has_detail, invalid; /* what to say when it is not kept, and whether as INVALID */
    kb_str detail;
};

struct kb__default_when {
    struct kb__cond when;
    const struct kb_node *value;
};

struct kb__prop {
    kb_str name;
    const struct kb_schema *schema;
    bool required;
    /* What depends on siblings. */
    const struct kb__default_when *default_when;
    uint16_t ndefault_when;
    uint16_t default_from, default_keys_from; /* a property, or KB__NO_PROP */
    kb_str default_from_rest;                 /* path below default_from, may be empty */
    const struct kb__cond *required_when, *forbidden_when; /* or NULL */
};

struct kb__props { /* numbers of properties */
    const uint16_t *items;
    uint16_t count;
};

struct kb_schema {
    uint8_t type;      /* enum kb__type */
    uint8_t list_type; /* enum kb_list_type */
    uint8_t patch;     /* KB_PATCH_* */
    uint8_t format, key_format;
    bool custom; /* rules of a CRD: null is not absence, wrong types are causes */
    bool nullable, preserve, zero_is_unset;
    bool deep; /* a default is somewhere at or below */
    bool has_min, has_max, has_min_length, has_max_length, has_max_items, has_min_items;
    bool int32;
    kb_str name;
    kb_val source;

    const struct kb__prop *props;
    uint16_t nprops, one_of_default;
    uint32_t seed, mask;
    const uint16_t *slots;
    const struct kb_schema *additional, *items;
    struct kb__props required, conditional, defaulted, computed;
    struct kb__props one_of, at_most_one_of;

    const kb_str *list_keys, *unique;
    uint16_t nlist_keys, nunique;
    kb_str merge_key;

    const struct kb_node *dflt;
    const struct kb_node *enumeration; /* a list */
    kb_str enum_text;                  /* `"A", "B"` */
    kb_str detail; /* what to say of a value out of range or not in the enum; or empty */
    double min, max;
    int64_t min_length, max_length, min_items, max_items;
    regex_t *pattern;
    kb_str pattern_text;
};

static inline uint32_t kb__name_hash(kb_str s, uint32_t seed)
{
    uint32_t h = seed ^ (uint32_t)s.n * 0x9e3779b1u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (uint8_t)s.p[i]) * 0x01000193u;
    return h ^ h >> 15;
}

/* The number of a property, or KB__NO_PROP. */
static inline uint16_t kb__prop_find(const struct kb_schema *s, kb_str name)
{
    if (s->nprops == 0)
        return KB__NO_PROP;
    uint16_t at = s->slots[kb__name_hash(name, s->seed) & s->mask];
    return at != KB__NO_PROP && kb_str_eq(s->props[at].name, name) ? at : KB__NO_PROP;
}

/* Members of an object by property. Of the first KB__BIND_MAX properties without allocation. */
enum { KB__BIND_MAX = 64 };
struct kb__bound {
    struct kb_node *local[KB__BIND_MAX];
    struct kb_node **vals; /* by property; NULL when absent or null */
    struct kb_node **heap; /* what to free, or NULL */
};
void kb__bind(const struct kb_schema *s, const struct kb_node *map, struct kb__bound *bound);
void kb__bound_finish(struct kb__bound *bound);

/* NULL, nil, "" and empty containers count as empty. */
bool kb__node_empty(const struct kb_node *node);
bool kb__cond_holds(const struct kb__cond *cond, struct kb_node *const *vals);

/* ---- formats ---- */

/* 0 for none or unknown. */
uint8_t kb__format_of(kb_str name);
/* NULL when the text fits. */
const char *kb__format_check(uint8_t format, kb_str text);
/* The canonical form of a text of this format; 0 and `*text` possibly replaced (in the arena), or
 * -KB_EINVAL when it cannot be parsed. For quantities and times. */
int kb__format_canonical(uint8_t format, struct kb_arena *arena, kb_str *text);
bool kb__format_is_quantity(uint8_t format);
bool kb__format_is_time(uint8_t format);
bool kb__format_is_percent(uint8_t format);
bool kb__format_is_port(uint8_t format);
bool kb__format_is_bytes(uint8_t format);

/* ---- compiling ---- */

struct kb__schemas; /* definitions by name, and the memory of all that is compiled */
struct kb__schemas *kb__schemas_new(void);
void kb__schemas_destroy(struct kb__schemas **schemas_p);
struct kb_arena *kb__schemas_arena(struct kb__schemas *schemas);
/* Add definitions; they are compiled when first used. */
void kb__schemas_define(struct kb__schemas *schemas, kb_str name, kb_val source);
kb_val kb__schemas_source(const struct kb__schemas *schemas, kb_str name);
/* The schema of a definition, compiled. -KB_EINVAL. */
int kb__schemas_get(struct kb__schemas *schemas, kb_str name, const struct kb_schema **ret_schema,
                    struct kb_err *err);
/* A schema of its own (a CRD's openAPIV3Schema). */
int kb__schemas_compile(struct kb__schemas *schemas, kb_val source, bool custom,
                        const struct kb_schema **ret_schema, struct kb_err *err);

#endif
