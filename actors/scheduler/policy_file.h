/* Policies as files: one shared object each, with the symbol `kubus_policy`.
 *
 * A file is never opened where its author builds it. It is copied to DIR/NAME-VERSION.so first,
 * where VERSION is a hash of its bytes, and opened there: so an edited file is another file to the
 * dynamic linker, which would otherwise hand out the one it has; several versions live side by side
 * while one replaces the other; nobody overwrites what is mapped; and a restart finds what was
 * loaded although its author has moved on. Only files that look whole are opened, for the linker
 * does not survive those that were cut off. */
#ifndef KUBUS_SCHEDULER_POLICY_FILE_H
#define KUBUS_SCHEDULER_POLICY_FILE_H

#include "bus/base/err.h"
#include "plugins/policy.h"

enum { KB_POLICY_VERSION_BYTES = 17, KB_POLICY_FILE_MAX_BYTES = 64 << 20 };

struct kb_policy_file {
    void *handle;
    const struct kb_policy *policy; /* valid until closed */
    char *path;
    char version[KB_POLICY_VERSION_BYTES]; /* of its bytes, in hexadecimal */
};

/* Open a file where it is, and check its descriptor. -KB_ENOTFOUND, -KB_EINVAL with the reason.
 * Runs what the file wants run when it is loaded. */
int kb_policy_file_open(const char *path, struct kb_policy_file **ret, struct kb_err *err);
/* Nothing may refer to the policy any more. NULL inside is fine. */
void kb_policy_file_close(struct kb_policy_file **file_p);

/* Copy a file to its place in `dir`, open it there; the file stays when one was there already. */
int kb_policy_file_keep(const char *path, const char *dir, struct kb_policy_file **ret,
                        struct kb_err *err);
/* DIR/NAME-VERSION.so. Caller frees. */
char *kb_policy_file_kept(const char *dir, const char *name, const char *version);

/* Remove the kept files of which `used` says that nobody needs their version, and that were not
 * kept again after `before_us` (of the wall clock): one that was kept just now may be on its way
 * into a configuration. */
void kb_policy_file_sweep(const char *dir, int64_t before_us,
                          bool (*used)(void *user, const char *version), void *user);

/* Where a policy of this name would be that is shipped with the program: policies/NAME.so beside
 * the modules. Caller frees. NULL: the name cannot be one. */
char *kb_policy_file_shipped(const char *name);
/* Letters and digits, as a C identifier, 63 at most: it stands in file names and keys. */
bool kb_policy_name_valid(const char *name);

#endif
