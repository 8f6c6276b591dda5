/* What the engine stands on: checksums and sorted sets. */
#include "bus/base/rand.h"
#include "store/crc32c.h"
#include "store/skip.h"
#include "tests/lib/test.h"

KB_TEST(crc32c, the_instruction_agrees_with_the_table)
{
    char data[4099];
    struct kb_rand rand;
    kb_rand_init(&rand, 3);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)kb_rand_next(&rand);
    KB_CHECK_U64(kb_crc32c(0, "123456789", 9), ==, 0xe3069283);
    for (size_t n = 0; n < sizeof(data); n += 61)
        KB_CHECK_U64(kb_crc32c(5, data, n), ==, kb_crc32c_table(5, data, n));
}

KB_TEST(skip, keeps_its_keys_in_order)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_skip skip = {0};
    struct kb_rand rand;
    char key[16];
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "k%" PRIu64, kb_rand_below(&rand, 1000));
        kb_skip_add(&skip, &arena, kb_str_of(key));
        KB_CHECK(kb_skip_find(&skip, kb_str_of(key)) != NULL);
    }
    size_t n = 0;
    for (const struct kb_skip_node *a = kb_skip_first(&skip), *b; a; a = b, n++)
        if ((b = kb_skip_after(a)) != NULL)
            KB_CHECK(kb_str_cmp(a->key, b->key) < 0);
    KB_CHECK_U64(n, ==, skip.count);
    KB_CHECK(kb_skip_find(&skip, kb_str_of("z")) == NULL);
}
