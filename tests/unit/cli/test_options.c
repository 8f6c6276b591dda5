#include "actors/cli/options.h"
#include "tests/lib/test.h"

struct parsed {
    bool flag, wide;
    const char *text;
    int64_t number;
    struct kb_opt_list list;
    struct kb_operands operands;
    struct kb_err err;
};

static int parse(struct parsed *p, int argc, const char *const *argv)
{
    const struct kb_opt opts[] = {
        {"flag", 'f', KB_OPT_FLAG, &p->flag, NULL, "", 0, 0},
        {"wide", 'w', KB_OPT_FLAG, &p->wide, NULL, "", 0, 0},
        {"output", 'o', KB_OPT_TEXT, &p->text, "FORMAT", "", 0, 0},
        {"nodes", 0, KB_OPT_INT, &p->number, "N", "how many", 1, 9},
        {"image", 0, KB_OPT_LIST, &p->list, "FILE", "", 0, 0},
    };
    return kb_options_parse(opts, KB_COUNT(opts), argc, (char **)argv, &p->operands, &p->err);
}
/* The texts must outlive the call, as those of main() do. */
#define PARSE(p, ...)                                                                              \
    __extension__({                                                                                \
        static const char *const argv_[] = {"x", __VA_ARGS__, NULL};                               \
        parse(p, (int)KB_COUNT(argv_) - 1, argv_);                                                 \
    })

KB_TEST(options, all_the_ways_to_give_one_are_understood)
{
    struct parsed p = {0};
    KB_CHECK_I64(
        PARSE(&p, "pods", "-fw", "-ojson", "--nodes=3", "web", "--image", "a", "--image=b"), ==, 0);
    KB_CHECK(p.flag && p.wide);
    KB_CHECK_STR(p.text, "json");
    KB_CHECK_I64(p.number, ==, 3);
    KB_CHECK_U64(p.list.count, ==, 2);
    KB_CHECK_U64(p.operands.count, ==, 2);
    KB_CHECK_STR(p.operands.items[1], "web");
}

KB_TEST(options, what_stands_behind_dashes_is_left_alone)
{
    struct parsed p = {0};
    KB_CHECK_I64(PARSE(&p, "pod", "--", "ls", "-l", "--nodes"), ==, 0);
    KB_CHECK_U64(p.operands.count, ==, 1);
    KB_CHECK_U64(p.operands.after_count, ==, 3);
    KB_CHECK_STR(p.operands.after_dashes[2], "--nodes");
}

KB_TEST(options, mistakes_are_named)
{
    struct parsed p = {0};
    KB_CHECK_I64(PARSE(&p, "--nodse", "3"), ==, -KB_EINVAL);
    KB_CHECK_STR(p.err.text, "unknown option '--nodse'");
    KB_CHECK_I64(PARSE(&p, "--nodes"), ==, -KB_EINVAL);
    KB_CHECK_STR(p.err.text, "--nodes needs a value");
    KB_CHECK_I64(PARSE(&p, "--nodes", "10"), ==, -KB_EINVAL);
    KB_CHECK_STR(p.err.text, "--nodes takes a number from 1 to 9, not '10'");
    KB_CHECK_I64(PARSE(&p, "-x"), ==, -KB_EINVAL);
    KB_CHECK_I64(PARSE(&p, "--flag=maybe"), ==, -KB_EINVAL);
}
