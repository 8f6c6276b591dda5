/* The test runner: a test is a function with a sentence for a name, run in a process of its own.
 *
 *     KB_TEST(buf, grows_and_keeps_its_bytes) { … KB_CHECK_U64(buf.n, ==, 3); }
 *
 * A program links tests/lib and any number of test files. Run without arguments it runs all;
 * `--list` names them; `PREFIX` runs those whose "suite.name" starts with it. Exit code 0 only when
 * at least one test ran and all passed. A property test takes its seed from kb_test_seed(). */
#ifndef KUBUS_TESTS_LIB_TEST_H
#define KUBUS_TESTS_LIB_TEST_H

#include "bus/base/str.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

struct kb_test {
    const char *suite, *name;
    void (*run)(void);
    struct kb_test *next;
};

void kb_test_register(struct kb_test *test);
__attribute__((noreturn)) void kb_test_fail(const char *file, int line, const char *format, ...)
    KB_PRINTF(3, 4);
/* From KUBUS_TEST_SEED, else random; printed when the test fails. */
uint64_t kb_test_seed(void);
/* Keep a pointer until the test's process ends: what a helper returns and nobody frees. */
void *kb_test_keep(void *heap);
/* A fresh folder, removed after the test. */
const char *kb_test_dir(void);

#define KB_TEST(suite_, name_)                                                                     \
    static void test_##suite_##_##name_(void);                                                     \
    __attribute__((constructor)) static void register_##suite_##_##name_(void)                     \
    {                                                                                              \
        static struct kb_test test = {#suite_, #name_, test_##suite_##_##name_, 0};                \
        kb_test_register(&test);                                                                   \
    }                                                                                              \
    static void test_##suite_##_##name_(void)

#define KB_CHECK(expr)                                                                             \
    do {                                                                                           \
        if (!(expr))                                                                               \
            kb_test_fail(__FILE__, __LINE__, "%s", #expr);                                         \
    } while (0)

#define KB_CHECK_NUM_(type, format, a, op, b)                                                      \
    do {                                                                                           \
        type kb_a_ = (type)(a), kb_b_ = (type)(b);                                                 \
        if (!(kb_a_ op kb_b_))                                                                     \
            kb_test_fail(__FILE__, __LINE__, "%s %s %s: %" format " and %" format, #a, #op, #b,    \
                         kb_a_, kb_b_);                                                            \
    } while (0)
#define KB_CHECK_U64(a, op, b) KB_CHECK_NUM_(uint64_t, PRIu64, a, op, b)
#define KB_CHECK_I64(a, op, b) KB_CHECK_NUM_(int64_t, PRId64, a, op, b)

/* Both are C strings. */
#define KB_CHECK_STR(a, b)                                                                         \
    do {                                                                                           \
        const char *kb_a_ = (a), *kb_b_ = (b);                                                     \
        if (kb_a_ == NULL || kb_b_ == NULL || strcmp(kb_a_, kb_b_) != 0)                           \
            kb_test_fail(__FILE__, __LINE__, "%s is\n  %s\nnot\n  %s", #a,                         \
                         kb_a_ ? kb_a_ : "(null)", kb_b_ ? kb_b_ : "(null)");                      \
    } while (0)
/* A kb_str against a C string. */
#define KB_CHECK_STRN(a, b)                                                                        \
    do {                                                                                           \
        kb_str kb_s_ = (a);                                                                        \
        if (!kb_str_is(kb_s_, (b)))                                                                \
            kb_test_fail(__FILE__, __LINE__, "%s is\n  " KB_STR_FMT "\nnot\n  %s", #a,             \
                         KB_STR_ARG(kb_s_), (b));                                                  \
    } while (0)
/* A call that must succeed, with a `struct kb_err err` in scope of the caller passed in. */
#define KB_CHECK_OK(call, err_ptr)                                                                 \
    do {                                                                                           \
        int kb_rc_ = (call);                                                                       \
        if (kb_rc_ < 0)                                                                            \
            kb_test_fail(__FILE__, __LINE__, "%s: %d %s", #call, kb_rc_, (err_ptr)->text);         \
    } while (0)

#endif
