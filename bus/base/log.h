/* One line an event on standard error: time, level, actor, message. Shells log, once, where they
 * decide; cores never do above debug. Secrets are never logged. */
#ifndef KUBUS_BASE_LOG_H
#define KUBUS_BASE_LOG_H

#include "bus/base/auto.h"

enum kb_log_level { KB_LOG_DEBUG, KB_LOG_INFO, KB_LOG_WARN, KB_LOG_ERROR };

/* The actor's name, shown on each line; copied. Level from the environment's KUBUS_LOG
 * (debug, info, warn, error), info by default. */
KB_API void kb_log_init(const char *actor);
KB_API void kb_log(enum kb_log_level level, const char *format, ...) KB_PRINTF(2, 3);

#define kb_debug(...) kb_log(KB_LOG_DEBUG, __VA_ARGS__)
#define kb_info(...)  kb_log(KB_LOG_INFO, __VA_ARGS__)
#define kb_warn(...)  kb_log(KB_LOG_WARN, __VA_ARGS__)
#define kb_error(...) kb_log(KB_LOG_ERROR, __VA_ARGS__)

#endif
