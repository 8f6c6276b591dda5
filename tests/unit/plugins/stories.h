/* What the stories share. */
#ifndef KUBUS_TESTS_STORIES_H
#define KUBUS_TESTS_STORIES_H

#include "tests/lib/test.h"

#include <kubus/harness.h>

#define LOAD(h, name) kb_harness_load(h, KUBUS_TEST_PLUGINS "/" name ".so")

/* A kb_val's text at a path against a C string. */
#define CHECK_AT(val, path, want)     KB_CHECK_STRN(kb_val_str_at(val, path), want)
#define CHECK_INT_AT(val, path, want) KB_CHECK_I64(kb_val_int_at(val, path, 0), ==, want)

#endif
