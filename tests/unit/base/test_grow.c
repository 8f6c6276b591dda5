#include "bus/base/arena.h"
#include "bus/base/grow.h"
#include "tests/lib/test.h"

KB_TEST(grow, an_array_keeps_what_it_has_and_doubles_its_room)
{
    uint16_t n = 0, cap = 0;
    int *v = NULL;
    for (int i = 0; i < 100; i++) {
        KB_GROW(v, n, cap, 4);
        v[n++] = i;
        KB_CHECK(n <= cap);
    }
    KB_CHECK_U64(cap, ==, 128);
    for (int i = 0; i < 100; i++)
        KB_CHECK_I64(v[i], ==, i);
    free(v);
}

KB_TEST(grow, so_does_one_in_an_arena)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct pair {
        int a, b;
    } *v = NULL;
    uint32_t n = 0, cap = 0;
    for (int i = 0; i < 100; i++) {
        KB_ARENA_GROW(&arena, v, n, cap, 3);
        v[n++] = (struct pair){i, -i};
    }
    KB_CHECK_U64(cap, ==, 192);
    for (int i = 0; i < 100; i++)
        KB_CHECK(v[i].a == i && v[i].b == -i);
}
