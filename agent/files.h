/* Small files of the agent's own state: written whole or not at all, but without fsync. What they
 * describe (processes, mounts, addresses) does not outlive a power failure anyway. */
#ifndef KUBUS_AGENT_FILES_H
#define KUBUS_AGENT_FILES_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

#include <sys/types.h>

/* Replace the file by rename. */
int kb_put_file(const char *path, kb_str text, mode_t mode, struct kb_err *err);
/* Write into an existing file in one write(2): /proc, /sys, cgroups. */
int kb_poke_file(const char *path, const char *text, struct kb_err *err);
/* The value of "key=value" in a text of such lines; empty when it is not there. */
kb_str kb_line_value(kb_str text, const char *key);
/* The whole file, at most 1 MiB; empty when it cannot be read. Caller finishes `buf`. */
kb_str kb_get_file(const char *path, struct kb_buf *buf);
/* The kernel's stamp of when a process began, out of the text of /proc/PID/stat: with the pid, a
 * name that is not used twice. Borrowed; empty when the text is none. */
kb_str kb_proc_stamp(kb_str stat);
bool kb_path_exists(const char *path);

#endif
