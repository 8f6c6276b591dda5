/* Images on this machine: blobs by digest, references to manifests, layers unpacked for overlay.
 *
 *     DIR/blobs/sha256/HEX    manifests, configurations and layers, as they came, checked
 *     DIR/refs/NAME           one file a reference ("/" as "~"): the digest of its manifest, and
 *                             " local" behind it when it came from no registry
 *     DIR/layers/HEX/         a layer unpacked, whiteouts in overlay's form
 *
 * Everything appears by rename, whole, so several agents and jobs may share a folder. Functions
 * that block for long say so: use them in jobs. */
#ifndef KUBUS_AGENT_IMAGE_IMAGE_H
#define KUBUS_AGENT_IMAGE_IMAGE_H

#include "bus/base/arena.h"
#include "bus/base/err.h"

/* What a container needs of an image. All lives in the arena. */
struct kb_image {
    struct kb_arena arena;
    const char *name;    /* normalized: "docker.io/library/busybox:latest" */
    const char *id;      /* "docker.io/library/busybox@sha256:…" */
    const char **layers; /* folders, the topmost first, as overlay wants them */
    size_t n_layers;
    const char **entrypoint, **cmd, **env; /* NULL-terminated, never NULL */
    const char *user, *cwd;                /* "" when unset */
    uint64_t size_bytes;
};

void kb_image_finish(struct kb_image *image);

/* The full form of a reference: registry, path, tag or digest. "busybox" becomes
 * "docker.io/library/busybox:latest". False (out empty) when it is no reference. */
enum { KB_IMAGE_NAME_BYTES = 512 };
bool kb_image_normalize(const char *ref, char out[KB_IMAGE_NAME_BYTES]);
/* Whether it can be opened: one access(2). */
bool kb_image_present(const char *dir, const char *ref);
/* Whether it was made or loaded here, rather than pulled from a registry. */
bool kb_image_is_local(const char *dir, const char *ref);
/* -KB_ENOTFOUND, -KB_EINVAL (bad reference, bad content). Reads two small files. */
int kb_image_open(const char *dir, const char *ref, struct kb_image *ret_image, struct kb_err *err);
/* Names of all images present, "\n" between them, into `out`. */
struct kb_buf;
void kb_image_list(const char *dir, struct kb_buf *out);

/* Blocking. From a file or folder: an OCI layout (folder or tar), or what `docker save` wrote.
 * `ref`: the name it gets; NULL: those that it carries. */
int kb_image_load(const char *dir, const char *path, const char *ref, struct kb_err *err);
/* Blocking. From its registry, by skopeo; when it is here already, only if the registry's differs.
 */
int kb_image_pull(const char *dir, const char *ref, struct kb_err *err);
/* Blocking. Make busybox:latest and busybox:1.35 out of this machine's static busybox, unless they
 * are there. -KB_ENOTFOUND without such a program. */
int kb_image_busybox(const char *dir, struct kb_err *err);

/* What the files of this folder share, and the fuzzers drive. */

struct kb_node;

/* The 64 digits of "sha256:HEX" (borrowed); -KB_EINVAL for any other text. */
int kb__image_digest(kb_str digest, kb_str *ret_hex, struct kb_err *err);
/* The digest of the manifest of an index (an array) that is for this machine, else of the first. */
kb_str kb__image_choose(const struct kb_node *list);
/* What manifest and configuration say, into an image that is zero but for its arena. -KB_EINVAL: a
 * layer has no digest; then only the arena is to be finished. */
int kb__image_take(const char *dir, const struct kb_node *manifest, const struct kb_node *config,
                   struct kb_image *image, struct kb_err *err);

/* agent/image/unpack.c. Blocking: a layer's blob into a folder, whiteouts converted. */
int kb__image_unpack(const char *blob, const char *folder, struct kb_err *err);

#endif
