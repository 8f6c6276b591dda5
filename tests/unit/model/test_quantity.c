#include "bus/base/rand.h"
#include "bus/model/quantity.h"
#include "tests/lib/test.h"

static const char *canonical(const char *text)
{
    static char out[4][KB_QUANTITY_BYTES];
    static struct kb_err err;
    static int at;
    struct kb_quantity q;
    if (kb_quantity_parse(kb_str_of(text), &q, &err) < 0)
        return err.text;
    at = (at + 1) % 4;
    kb_quantity_format(q, out[at]);
    return out[at];
}

KB_TEST(quantity, has_the_canonical_form_of_kubernetes)
{
    static const char *cases[][2] = {
        {"0", "0"},
        {"0n", "0"},
        {"-0", "0"},
        {"0Mi", "0"},
        {"100m", "100m"},
        {"0.1", "100m"},
        {".5", "500m"},
        {"5.", "5"},
        {"1000", "1k"},
        {"1500", "1500"},
        {"1.5k", "1500"},
        {"12300", "12300"},
        {"1e3", "1e3"},
        {"1E3", "1e3"},
        {"12e-1", "1200e-3"},
        {"1e-9", "1e-9"},
        {"1.5Gi", "1536Mi"},
        {"1024Mi", "1Gi"},
        {"1Ki", "1Ki"},
        {"1000Ki", "1000Ki"},
        {"0.5Ki", "512"},
        {"0.5Mi", "512Ki"},
        {"1023", "1023"},
        {"-1.5Gi", "-1536Mi"},
        {"+1", "1"},
        {"1u", "1u"},
        {"0.0000000001", "1n"},
        {"1.0000000001", "1000000001n"},
        {"-0.0000000001", "-1n"},
        {"100E", "9223372036854775807"},
        {"9223372036854775808", "9223372036854775807"},
        {"8Ei", "9223372036854775807"},
        {"1E", "1E"},
        {"1e400", "9223372036854775807"},
        {"1e-400", "1e-9"},
        {"0e400", "0"},
        {"1.2345678901Ki", "1265"},
        {"00000000000000000000000000000000000000000000000000000001Gi", "1Gi"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        const char *got = canonical(cases[i][0]), *want = cases[i][1];
        if (strcmp(got, want) != 0)
            kb_test_fail(__FILE__, __LINE__, "%s is %s, not %s", cases[i][0], got, want);
    }
}

KB_TEST(quantity, errors_are_those_of_kubernetes)
{
    static const char *wrong = "quantities must match the regular expression "
                               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    static const char *formats[] = {"",    "abc", "1 Gi", "1.2.3", "Mi",
                                    "1gb", "--1", "1Gi ", ".",     "-"};
    for (size_t i = 0; i < KB_COUNT(formats); i++)
        KB_CHECK_STR(canonical(formats[i]), wrong);
    static const char *suffixes[] = {"1KMi", "1ki", "1mi",  "1K",   "1i",
                                     "1e",   "1-3", "1Gi5", "1e+-3"};
    for (size_t i = 0; i < KB_COUNT(suffixes) - 1; i++)
        KB_CHECK_STR(canonical(suffixes[i]), "unable to parse quantity's suffix");
    KB_CHECK_STR(canonical("1e+-3"), wrong);
}

static struct kb_quantity q_of(const char *text)
{
    struct kb_quantity q;
    struct kb_err err;
    KB_CHECK_OK(kb_quantity_parse(kb_str_of(text), &q, &err), &err);
    return q;
}

KB_TEST(quantity, values_round_away_from_zero)
{
    KB_CHECK_I64(kb_quantity_value(q_of("1m")), ==, 1);
    KB_CHECK_I64(kb_quantity_value(q_of("-1m")), ==, -1);
    KB_CHECK_I64(kb_quantity_milli(q_of("1u")), ==, 1);
    KB_CHECK_I64(kb_quantity_milli(q_of("250m")), ==, 250);
    KB_CHECK_I64(kb_quantity_milli(q_of("2")), ==, 2000);
    KB_CHECK_I64(kb_quantity_value(q_of("1.5Gi")), ==, 1610612736);
    KB_CHECK_I64(kb_quantity_milli(q_of("7Ei")), ==, INT64_MAX);
}

KB_TEST(quantity, sums_and_comparisons_agree_with_thousandths)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 20000; i++) {
        int64_t a = (int64_t)kb_rand_below(&rand, 2000000) - 1000000;
        int64_t b = (int64_t)kb_rand_below(&rand, 2000000) - 1000000;
        struct kb_quantity x = kb_quantity_from_milli(a, KB_DECIMAL_SI);
        struct kb_quantity y = kb_quantity_from_milli(b, KB_BINARY_SI);
        KB_CHECK_I64(kb_quantity_milli(kb_quantity_add(x, y)), ==, a + b);
        KB_CHECK_I64(kb_quantity_milli(kb_quantity_sub(x, y)), ==, a - b);
        KB_CHECK_I64(kb_quantity_cmp(x, y), ==, a < b ? -1 : a > b);
        char text[KB_QUANTITY_BYTES];
        kb_quantity_format(x, text);
        KB_CHECK_I64(kb_quantity_milli(q_of(text)), ==, a);
    }
    KB_CHECK_I64(kb_quantity_value(kb_quantity_add(q_of("8E"), q_of("8E"))), ==, INT64_MAX);
}

/* Without a fraction there is a short way; with a fraction of nothing, the long one is taken. */
KB_TEST(quantity, the_short_way_and_the_long_one_agree)
{
    static const char *const suffixes[] = {
        "n",  "u",  "m",  "",   "k",  "M",  "G",   "T",   "P",    "E",   "Ki",  "Mi",  "Gi",
        "Ti", "Pi", "Ei", "e3", "E9", "e0", "e-1", "e-9", "e-10", "e18", "e19", "e400"};
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 50000; i++) {
        char digits[24], brief[32], full[32];
        struct kb_quantity a, b;
        size_t n = 1 + kb_rand_below(&rand, 20);
        for (size_t k = 0; k < n; k++)
            digits[k] = (char)('0' + (kb_rand_below(&rand, 3) ? kb_rand_below(&rand, 10) : 0));
        digits[n] = '\0';
        const char *suffix = suffixes[kb_rand_below(&rand, KB_COUNT(suffixes))];
        const char *sign = kb_rand_below(&rand, 4) ? "" : "-";
        snprintf(brief, sizeof(brief), "%s%s%s", sign, digits, suffix);
        snprintf(full, sizeof(full), "%s%s.0%s", sign, digits, suffix);
        KB_CHECK_I64(kb_quantity_parse(kb_str_of(brief), &a, NULL), ==, 0);
        KB_CHECK_I64(kb_quantity_parse(kb_str_of(full), &b, NULL), ==, 0);
        if (a.whole != b.whole || a.nano != b.nano || a.negative != b.negative ||
            a.format != b.format)
            kb_test_fail(__FILE__, __LINE__, "%s is not %s", brief, full);
    }
}
