/* Bounds on everything whose size a peer chooses. Over one of these the answer is -KB_E2BIG. */
#ifndef KUBUS_BASE_LIMITS_H
#define KUBUS_BASE_LIMITS_H

#define KB_OBJECT_MAX_BYTES   (1536u * 1024)       /* one stored object, as msgpack */
#define KB_BODY_MAX_BYTES     (3u * 1024 * 1024)   /* one HTTP request body, as Kubernetes */
#define KB_FRAME_MAX_BYTES    (64u * 1024 * 1024)  /* one bus frame: pages of a list are below */
#define KB_HEADER_MAX_BYTES   (16u * 1024)         /* one bus header */
#define KB_VIEW_MAX_BYTES     1024u                /* the name of a view */
#define KB_KEY_MAX_BYTES      480u                 /* a store key (LMDB takes 511) */
#define KB_NAME_MAX_BYTES     253u                 /* metadata.name */
#define KB_DEPTH_MAX          128u                 /* nesting of a document */
#define KB_PATH_MAX_BYTES     1024u                /* a document path */
#define KB_SELECTOR_MAX_BYTES (8u * 1024)          /* a selector's text */
#define KB_FILE_MAX_BYTES     (64u * 1024 * 1024)  /* a configuration or manifest file */
#define KB_TXN_MAX_OPS        4096u                /* operations in one store transaction */
#define KB_TXN_MAX_BYTES      (32u * 1024 * 1024)  /* its documents, those it replaces included */
#define KB_EVENT_MAX_BYTES    (16u * 1024 * 1024)  /* one event of a view: beyond, it is replayed */
#define KB_DECLARE_MAX        1024u                /* resources in one declaration */
#define KB_SERVED_MAX         100000u              /* calls that one actor has not answered yet */
#define KB_SERVED_MAX_BYTES   (256u * 1024 * 1024) /* and their bodies */

#endif
