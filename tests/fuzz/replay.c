/* Feeds every file of a folder, all its prefixes when it is small, and some damaged forms of it to
 * a fuzzer: the seeds as an ordinary test, with any compiler. */
#include "bus/base/buf.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/rand.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { DAMAGED = 200, SMALL = 512 };

/* A copy on the heap of exactly this size, so that a sanitizer sees a read past its end. */
static void feed(const char *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    KB_ASSERT(copy != NULL);
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void replay(struct kb_buf *seed, struct kb_rand *rand)
{
    feed(seed->p, seed->n);
    for (size_t n = 0; n < seed->n && n < SMALL; n++)
        feed(seed->p, n);
    for (int i = 0; i < DAMAGED && seed->n; i++) {
        size_t at = kb_rand_below(rand, seed->n);
        char was = seed->p[at];
        seed->p[at] = (char)kb_rand_next(rand);
        feed(seed->p, seed->n);
        seed->p[at] = was;
    }
}

int main(int argc, char **argv)
{
    int files = 0;
    struct kb_rand rand;
    kb_rand_init(&rand, 1);
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        KB_AUTO(kb_buf_finish) struct kb_buf seed = {0};
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", argv[1], entry->d_name);
        struct kb_err err;
        if (entry->d_name[0] == '.')
            continue;
        if (kb_file_read(path, 1 << 20, &seed, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        replay(&seed, &rand);
        files++;
    }
    closedir(dir);
    printf("%d seeds replayed\n", files);
    return files > 0 ? 0 : 1;
}
