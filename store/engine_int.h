/* Private to the engine: what its files share. See engine.c for how it fits together. */
#ifndef KUBUS_STORE_ENGINE_INT_H
#define KUBUS_STORE_ENGINE_INT_H

#include "bus/base/check.h"
#include "store/engine.h"
#include "store/kv.h"
#include "store/log.h"
#include "store/skip.h"

#include <pthread.h>

/* ---- a generation: changes in memory, over the database ---- */

struct kb__version {
    struct kb_record rec; /* its texts lie in `bytes` */
    kb_str bytes;         /* the record, encoded, in the generation's arena */
    struct kb_skip_node *node;
    struct kb__version *older; /* of the same key in the same generation */
};

struct kb__side { /* what a batch has besides versions */
    enum kb_entry_type type;
    kb_str bytes;
    struct kb__side *next;
};

struct kb__gen {
    struct kb_arena arena;
    struct kb_skip keys;  /* key → newest struct kb__version, NULL when undone */
    struct kb_skip index; /* index entry → how many versions have it, as an integer */
    struct kb_skip ttl;   /* (when, id) → struct kb__version, NULL when undone */
    struct kb__version **order;
    size_t n, cap;
    struct kb__side *side, **side_end;
    size_t bytes;
    kb_ms born_ms;                       /* when the first change came; -1: none */
    uint64_t last_batch;                 /* the last one with changes in here */
    struct kb_log_pos end;               /* behind that batch, once it is durable */
    uint64_t last_rev;                   /* the store's, as of its end */
    uint32_t building[KB_INDEX_MAX * 2]; /* ids of indices that are complete once this is applied */
    size_t building_n;
    /* how far applying has come: committed slices only */
    struct kb__progress {
        size_t order_at;                               /* of `order` */
        const struct kb_skip_node *keys_at, *index_at; /* the next; NULL: the first, or all done */
        bool keys_done, index_done, rest_done;
    } progress;
};

struct kb__gen *kb__gen_new(void);
void kb__gen_destroy(struct kb__gen **gen_p);
/* Add a version: its record is encoded into the arena; indices of its resource get entries. */
struct kb__version *kb__gen_add(struct kb__gen *gen, const struct kb_indices *indices,
                                const struct kb_record *record);
/* Take the newest version back. */
void kb__gen_undo(struct kb__gen *gen, const struct kb_indices *indices);
void kb__gen_add_side(struct kb__gen *gen, enum kb_entry_type type, kb_str bytes);
/* The first version ≥ id, and the version id itself; NULL: there is none. O(log n). */
struct kb__version *kb__gen_from(const struct kb__gen *gen, struct kb_vid id);
struct kb__version *kb__gen_find(const struct kb__gen *gen, struct kb_vid id);

enum { KB__TTL_KEY_BYTES = 8 + KB_VID_BYTES };
void kb__ttl_key(int64_t expires_ms, struct kb_vid id, uint8_t out[KB__TTL_KEY_BYTES]);

/* ---- the engine ---- */

struct kb__lease {
    char *holder;
    uint64_t epoch;
    int64_t ttl_ms;
};

/* How to take a staged lease back. */
struct kb__lease_undo {
    char *name;
    struct kb__lease before; /* its holder is owned; epoch 0: there was none */
};

struct kb__batch {
    uint64_t number;
    struct kb_buf bytes; /* KB_LOG_HEADER_BYTES, then entries; empty: nothing is staged */
    size_t txns;
    uint64_t first_rev, last_rev; /* last < first: no versions */
    struct kb__gen *gen;          /* where its versions lie */
    size_t gen_at, changes;       /* from this place in its order, so many */
    struct kb__side **side_at;    /* and from here in its list */
    uint64_t gen_last_batch;      /* what its last_batch was before this one */
    struct kb__lease_undo *leases;
    size_t leases_n;
    struct kb_doc **declares;
    size_t declares_n;
    uint64_t compact; /* 0: none */
};

enum kb__job { KB__IDLE, KB__QUEUED, KB__RUNNING, KB__DONE };

/* What the database has; changed by the applier alone, once the engine is open. */
struct kb__applied {
    struct kb_log_pos pos;
    uint64_t rev;
    uint64_t compacted;    /* what was asked for */
    uint64_t compact_done; /* what has been carried out */
    uint32_t next_index;   /* ids of indices from here on were never used */
};

struct kb_engine {
    struct kb_engine_config config;
    char *dir, *db_path, *log_dir;
    int lock_fd, event_fd;
    char id[KB_UUID_BYTES];
    struct kb_kv *kv;
    struct kb_log *log;
    struct kb_indices indices;
    struct kb_map leases; /* name → struct kb__lease */

    struct kb__gen *active, *closed; /* closed: waits for its last batch, then is applied */
    uint64_t staged_rev, durable_rev, compacted;
    struct kb__batch open, flight, spoiled; /* spoiled: was staged behind one that failed */
    struct kb_err spoiled_err;
    uint64_t durable_batch;
    uint8_t expire_from[KB__TTL_KEY_BYTES]; /* all before it was seen to */
    uint64_t batches, txns;

    struct kb_kv_txn *read; /* the owner's snapshot, renewed when the applier has committed */
    kb_ms now_ms, retry_ms; /* retry: when to try again to apply; 0: at once */
    bool failed;            /* the log has */
    bool chores;            /* there is something for the applier to do even without changes */
    int failing;            /* why the closed generation is not applied, a KB_E* */
    struct kb_err failing_err;

    /* ---- shared, under `lock` ---- */
    pthread_mutex_t lock;
    pthread_cond_t log_wake, apply_wake, done;
    pthread_t log_thread, apply_thread, backup_thread, check_thread;
    bool threads, stop;
    enum kb__job log_job, apply_job, backup_job, check_job;
    bool want_housekeep;
    int log_rc, apply_rc, backup_rc, check_rc;
    struct kb_err log_err, apply_err, backup_err;
    struct kb_log_pos log_end;
    bool log_failed;
    uint64_t slices;         /* committed by the applier */
    struct kb__gen *garbage; /* to be freed by the applier */
    struct kb__applied applied;
    char *backup_file;
    uint64_t backup_rev, backup_bytes;
    bool backup_waits; /* until the database has backup_rev */

    /* ---- the owner's ---- */
    struct kb__check *checking; /* NULL: none */
    uint64_t slices_seen;

    /* ---- the applier's ---- */
    struct kb_indices db_indices; /* as the database has them */
};

/* engine.c */
void kb__engine_wake(struct kb_engine *e); /* make event_fd readable */
void *kb__log_main(void *user);            /* the threads; `user` is the engine */
void *kb__apply_main(void *user);

/* engine_read.c */
/* The newest version of a key, staged ones too: 0, -KB_ENOTFOUND (never there, or forgotten) …
 * `doc` is not loaded from the database unless `want_doc`. */
int kb__newest(struct kb_engine *e, kb_str key, bool want_doc, struct kb_record *ret_record,
               struct kb_err *err);

struct kb_item kb__item_of(const struct kb_record *rec);

/* An entry of KB_KV_CUR. */
struct kb__cur {
    uint64_t rev;
    uint32_t idx, deleted;
    int64_t expires_ms;
};

static inline kb_val kb__doc_val(kb_str doc)
{
    const uint8_t *p = (const uint8_t *)doc.p;
    return p ? (kb_val){p, p + doc.n} : (kb_val){NULL, NULL};
}

static inline kb_str kb__bytes(const void *p, size_t n)
{
    return kb_str_n(p, n);
}

/* A transaction of the database by the applier, small enough that the disk is not held up for long.
 */
struct kb__slice {
    struct kb_engine *e;
    struct kb_kv_txn *txn;
    size_t cost;
};
enum { KB__PUT_COST = 512 }; /* of an entry, besides its bytes */

/* Begin one, when the map has room for it: KB__GROW otherwise. */
int kb__slice_begin(struct kb_engine *e, struct kb__slice *s, struct kb_err *err);
int kb__slice_commit(struct kb__slice *s, struct kb_err *err);
static inline bool kb__slice_full(const struct kb__slice *s)
{
    return s->cost >= s->e->config.slice_bytes;
}
void kb__set_applied(struct kb_engine *e, const struct kb__applied *applied);
int kb__chores(struct kb_engine *e, struct kb_err *err); /* engine_chores.c */

/* engine_apply.c: on the applier's thread */
#define KB__GROW (-1000) /* the map is full: grow it and try again */
int kb__apply(struct kb_engine *e, struct kb__gen *gen, struct kb_err *err);
void kb__housekeep(
    struct kb_engine *e); /* segments of the log: make one ready, take old ones back */
int kb__state_load(struct kb_engine *e, struct kb_err *err);
int kb__state_put(struct kb_kv_txn *txn, const char *id, const struct kb__applied *applied,
                  struct kb_err *err);

/* engine_write.c */
/* A batch read back from the log: as if staged and durable. */
int kb__replay_batch(struct kb_engine *e, kb_str entries, struct kb_err *err);
void kb__batch_reset(struct kb__batch *batch);
void kb__batch_undo(struct kb_engine *e, struct kb__batch *batch);
int kb__lease_set(struct kb_engine *e, kb_str name, const struct kb_lease *lease);

/* engine_check.c */
void kb__check_destroy(struct kb__check **check_p);

/* engine_backup.c */
int kb__backup_write(struct kb_engine *e, const char *file, uint64_t *ret_bytes,
                     struct kb_err *err);

#endif
