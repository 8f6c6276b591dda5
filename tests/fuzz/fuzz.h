#ifndef KUBUS_TESTS_FUZZ_FUZZ_H
#define KUBUS_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Any input must be answered, not crash: returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#endif
