#include "tests/lib/test.h"

#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_LIMIT_SECONDS = 120 };

static struct kb_test *tests, **tests_end = &tests;
static uint64_t seed_used;
static char dir_used[64];

void kb_test_register(struct kb_test *test)
{
    *tests_end = test;
    tests_end = &test->next;
}

uint64_t kb_test_seed(void)
{
    const char *given = getenv("KUBUS_TEST_SEED");
    if (seed_used == 0 && given)
        seed_used = strtoull(given, NULL, 0);
    if (seed_used == 0)
        KB_ASSERT(getrandom(&seed_used, sizeof(seed_used), 0) == (ssize_t)sizeof(seed_used));
    return seed_used;
}

static void remove_dir(void)
{
    kb_dir_remove(dir_used, NULL);
}

void *kb_test_keep(void *heap)
{
    static void *kept[512]; /* where the leak checker sees them */
    static size_t count;
    if (count == KB_COUNT(kept))
        kb_test_fail(__FILE__, __LINE__, "a test keeps more than %zu pointers", count);
    return kept[count++] = heap;
}

const char *kb_test_dir(void)
{
    if (dir_used[0] == '\0') {
        snprintf(dir_used, sizeof(dir_used), "/tmp/kubus-test-XXXXXX");
        KB_ASSERT(mkdtemp(dir_used) != NULL);
        atexit(remove_dir);
    }
    return dir_used;
}

void kb_test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    if (seed_used)
        fprintf(stderr, "seed: KUBUS_TEST_SEED=%" PRIu64 "\n", seed_used);
    va_end(args);
    exit(1);
}

static bool run_one(const struct kb_test *test)
{
    fflush(NULL);
    pid_t pid = fork();
    KB_ASSERT(pid >= 0);
    if (pid == 0) {
        alarm(TEST_LIMIT_SECONDS);
        test->run();
        exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        KB_ASSERT(errno == EINTR);
    if (WIFSIGNALED(status))
        fprintf(stderr, "killed by signal %d%s\n", WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (took too long)" : "");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    const char *prefix = argc > 1 ? argv[1] : "";
    bool list = strcmp(prefix, "--list") == 0;
    int passed = 0, failed = 0;
    for (const struct kb_test *test = tests; test; test = test->next) {
        char full[256];
        snprintf(full, sizeof(full), "%s.%s", test->suite, test->name);
        if (!list && strncmp(full, prefix, strlen(prefix)) != 0)
            continue;
        if (list) {
            printf("%s\n", full);
            continue;
        }
        kb_ms start = kb_clock_now(kb_clock_system());
        bool ok = run_one(test);
        printf("%s %s (%" PRId64 " ms)\n", ok ? "ok  " : "FAIL", full,
               kb_clock_now(kb_clock_system()) - start);
        ok ? passed++ : failed++;
    }
    if (!list)
        printf("%d passed, %d failed\n", passed, failed);
    return list || (passed > 0 && failed == 0) ? 0 : 1;
}
