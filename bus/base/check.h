/* Assertions that stay on in release: our own bugs abort, and the supervisor restarts the actor.
 * Never for input from a peer, a disk or a system call. */
#ifndef KUBUS_BASE_CHECK_H
#define KUBUS_BASE_CHECK_H

#include "bus/base/auto.h"

KB_API __attribute__((noreturn)) void kb_assert_failed(const char *expr, const char *file, int line);

#define KB_ASSERT(expr) ((expr) ? (void)0 : kb_assert_failed(#expr, __FILE__, __LINE__))
/* An object carries its magic number as the first field named `magic`. */
#define KB_CHECK_OBJ(ptr, want) KB_ASSERT((ptr) != NULL && (ptr)->magic == (want))
#define KB_UNREACHABLE()        kb_assert_failed("unreachable", __FILE__, __LINE__)

#endif
