/* quantity.c - reading goes through a 320-bit integer of billionths, so that "1.5Ei" and
 * "0.000000001e9" are exact before they are rounded or capped; everything after that is one int64
 * of units and one int32 of billionths. */
#include "bus/model/quantity.h"

#include "bus/base/check.h"

#include <stdio.h>

static const char format_wrong[] =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

enum { LIMBS = 10, NANO = 1000000000, KEPT_DIGITS = 28 };

/* Little-endian, base 2^32. Past the end it saturates: it is capped anyway. */
struct big {
    uint32_t limb[LIMBS];
    bool over;
};

static void big_mul_add(struct big *b, uint32_t factor, uint32_t add)
{
    uint64_t carry = add;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    b->over |= carry != 0;
}

/* Divide; returns the remainder. */
static uint32_t big_div(struct big *b, uint32_t by)
{
    uint64_t rest = 0;
    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 32 | b->limb[i];
        b->limb[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    return (uint32_t)rest;
}

static bool big_is_zero(const struct big *b)
{
    for (int i = 0; i < LIMBS; i++)
        if (b->limb[i])
            return false;
    return !b->over;
}

/* A number of billionths into a quantity, capped. */
static void big_take(struct big *b, struct kb_quantity *q)
{
    q->nano = (int32_t)big_div(b, NANO);
    bool capped = b->over || b->limb[1] > INT32_MAX;
    for (int i = 2; i < LIMBS; i++)
        capped |= b->limb[i] != 0;
    q->whole = capped ? INT64_MAX : (int64_t)((uint64_t)b->limb[1] << 32 | b->limb[0]);
    if (q->whole == INT64_MAX)
        q->nano = 0;
}

struct suffix {
    char text[4];
    int exponent; /* of ten, or of two for the binary ones */
};
static const struct suffix decimals[] = {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0},   {"k", 3},
                                         {"M", 6},  {"G", 9},  {"T", 12}, {"P", 15}, {"E", 18}};
static const struct suffix binaries[] = {{"", 0},    {"Ki", 10}, {"Mi", 20}, {"Gi", 30},
                                         {"Ti", 40}, {"Pi", 50}, {"Ei", 60}};

/* What the suffix says: powers of ten and two, and the format. */
static bool suffix_read(kb_str s, int64_t *ret_ten, int *ret_two, enum kb_quantity_format *ret)
{
    *ret_ten = *ret_two = 0;
    *ret = KB_DECIMAL_SI;
    if (s.n == 0)
        return true;
    for (size_t i = 0; i < KB_COUNT(decimals); i++)
        if (kb_str_is(s, decimals[i].text)) {
            *ret_ten = decimals[i].exponent;
            return true;
        }
    for (size_t i = 1; i < KB_COUNT(binaries); i++)
        if (kb_str_is(s, binaries[i].text)) {
            *ret_two = binaries[i].exponent;
            *ret = KB_BINARY_SI;
            return true;
        }
    *ret = KB_DECIMAL_EXPONENT;
    bool marked = s.n > 1 && (s.p[0] == 'e' || s.p[0] == 'E');
    if (!marked)
        return false;
    bool plus = s.p[1] == '+';
    return kb_str_i64(kb_str_n(s.p + 1 + plus, s.n - 1 - plus), ret_ten);
}

struct parts {
    bool negative;
    kb_str whole, fraction, suffix;
};

static size_t span(kb_str s, size_t at, const char *set)
{
    while (at < s.n && s.p[at] && strchr(set, s.p[at]))
        at++;
    return at;
}

static bool parts_read(kb_str s, struct parts *parts)
{
    size_t at = s.n && (s.p[0] == '+' || s.p[0] == '-');
    parts->negative = at && s.p[0] == '-';
    size_t from = at;
    at = span(s, at, "0123456789");
    parts->whole = kb_str_n(s.p + from, at - from);
    parts->fraction = kb_str_n(NULL, 0);
    if (at < s.n && s.p[at] == '.') {
        from = ++at;
        at = span(s, at, "0123456789");
        parts->fraction = kb_str_n(s.p + from, at - from);
    }
    from = at;
    at = span(s, at, "eEinumkKMGTP");
    if (at < s.n && (s.p[at] == '-' || s.p[at] == '+'))
        at++;
    at = span(s, at, "0123456789");
    parts->suffix = kb_str_n(s.p + from, at - from);
    return at == s.n;
}

/* Digits into `b`; those past KEPT_DIGITS of the fraction only say whether they are all zero. */
static bool digits_read(const struct parts *parts, struct big *b, int *ret_scale)
{
    bool rest = false;
    for (size_t i = 0; i < parts->whole.n && !b->over; i++)
        big_mul_add(b, 10, (uint32_t)(parts->whole.p[i] - '0'));
    *ret_scale = 0;
    for (size_t i = 0; i < parts->fraction.n; i++) {
        if (*ret_scale == KEPT_DIGITS) {
            rest |= parts->fraction.p[i] != '0';
            continue;
        }
        big_mul_add(b, 10, (uint32_t)(parts->fraction.p[i] - '0'));
        ++*ret_scale;
    }
    return rest;
}

static void shift_ten(struct big *b, int64_t ten, bool *rest)
{
    if (big_is_zero(b))
        return;
    for (; ten > 0 && !b->over; ten--)
        big_mul_add(b, 10, 0);
    for (; ten < 0 && !big_is_zero(b); ten++)
        *rest |= big_div(b, 10) != 0;
}

/* What nearly every quantity is, without the large integer: some digits, and a suffix that keeps
 * them exact and below the cap. False: the long way. */
static bool take_short(const struct parts *parts, int64_t ten, int two, struct kb_quantity *q)
{
    enum { SHORT_DIGITS = 18 };
    int64_t value = 0, factor = 1;
    if (parts->fraction.n || parts->whole.n > SHORT_DIGITS || ten < -9 || ten > SHORT_DIGITS)
        return false;
    for (size_t i = 0; i < parts->whole.n; i++)
        value = value * 10 + (parts->whole.p[i] - '0');
    for (int64_t i = ten < 0 ? -ten : ten; i > 0; i--)
        factor *= 10;
    if (ten < 0) {
        q->whole = value / factor;
        q->nano = (int32_t)(value % factor * (NANO / factor));
        return true;
    }
    factor <<= two; /* with which `ten` is 0 */
    if (value > (INT64_MAX - 1) / factor)
        return false;
    q->whole = value * factor;
    return true;
}

static void take_long(const struct parts *parts, int64_t ten, int two, struct kb_quantity *q)
{
    struct big b = {0};
    int scale;
    bool rest = digits_read(parts, &b, &scale);
    for (; two > 0; two--)
        big_mul_add(&b, 2, 0);
    if (ten > 400) /* far past the cap, or far below a billionth: bound the loop */
        ten = 400;
    if (ten < -400)
        ten = -400;
    shift_ten(&b, ten + 9 - scale, &rest);
    if (rest)
        big_mul_add(&b, 1, 1);
    big_take(&b, q);
}

int kb_quantity_parse(kb_str text, struct kb_quantity *ret, struct kb_err *err)
{
    struct parts parts;
    struct kb_quantity q = {0};
    int64_t ten;
    int two;
    if (text.n == 0 || !parts_read(text, &parts) || parts.whole.n + parts.fraction.n == 0)
        return kb_err_set(err, KB_EINVAL, "%s", format_wrong);
    if (!suffix_read(parts.suffix, &ten, &two, &q.format))
        return kb_err_set(err, KB_EINVAL, "unable to parse quantity's suffix");
    if (!take_short(&parts, ten, two, &q))
        take_long(&parts, ten, two, &q);
    q.negative = parts.negative && (q.whole || q.nano);
    *ret = q;
    return 0;
}

int kb_quantity_of(kb_val val, struct kb_quantity *ret, struct kb_err *err)
{
    char text[40];
    switch (kb_val_type(val)) {
    case KB_STR:
        return kb_quantity_parse(kb_val_str(val), ret, err);
    case KB_INT:
        *ret = kb_quantity_int(kb_val_int(val, 0), KB_DECIMAL_SI);
        return 0;
    case KB_DOUBLE:
        snprintf(text, sizeof(text), "%.17g", kb_val_double(val, 0));
        return kb_quantity_parse(kb_str_of(text), ret, err);
    default:
        return kb_err_set(err, KB_EINVAL, "%s", format_wrong);
    }
}

struct kb_quantity kb_quantity_int(int64_t value, enum kb_quantity_format format)
{
    int64_t whole = value == INT64_MIN ? INT64_MAX : value < 0 ? -value : value;
    return (struct kb_quantity){.whole = whole, .negative = value < 0, .format = format};
}

struct kb_quantity kb_quantity_from_milli(int64_t milli, enum kb_quantity_format format)
{
    uint64_t size = milli < 0 ? 0 - (uint64_t)milli : (uint64_t)milli;
    return (struct kb_quantity){.whole = (int64_t)(size / 1000),
                                .nano = (int32_t)(size % 1000) * 1000000,
                                .negative = milli < 0,
                                .format = format};
}

/* ---- writing ---- */

static char *put_text(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

/* In decimal, with zeros in front up to `width` digits. */
static char *put_number(char *p, uint64_t n, int width)
{
    char digits[20];
    int count = 0;
    for (; n > 0 || count < width; n /= 10)
        digits[count++] = (char)('0' + n % 10);
    while (count > 0)
        *p++ = digits[--count];
    return p;
}

/* The integer at the greatest power of 1000 (from -3 to 6) at which it is one. Returns its end. */
static char *put_thousands(char *p, struct kb_quantity q, int *ret_power)
{
    uint64_t whole = (uint64_t)q.whole, rest = (uint64_t)q.nano;
    int power = q.nano ? -3 : 0;
    if (rest) {
        for (; rest % 1000 == 0; power++)
            rest /= 1000;
        p = put_number(p, whole, 0);
        p = put_number(p, rest, whole ? -3 * power : 0);
    } else {
        for (; whole % 1000 == 0 && power < 6; power++)
            whole /= 1000;
        p = put_number(p, whole, 1);
    }
    *ret_power = power;
    return p;
}

static char *put_decimal(char *p, struct kb_quantity q)
{
    int power;
    p = put_thousands(p, q, &power);
    if (q.format != KB_DECIMAL_EXPONENT)
        return put_text(p, decimals[power + 3].text);
    if (power == 0)
        return p;
    p = put_text(p, power < 0 ? "e-" : "e");
    return put_number(p, (uint64_t)(power < 0 ? -power : power) * 3, 1);
}

static char *put_binary(char *p, struct kb_quantity q)
{
    uint64_t value = (uint64_t)q.whole + (q.nano > 0);
    size_t power = 0;
    while (value % 1024 == 0 && power + 1 < KB_COUNT(binaries)) {
        value /= 1024;
        power++;
    }
    return put_text(put_number(p, value, 1), binaries[power].text);
}

void kb_quantity_format(struct kb_quantity q, char out[KB_QUANTITY_BYTES])
{
    char *p = out;
    if (q.negative && !kb_quantity_is_zero(q))
        *p++ = '-';
    if (kb_quantity_is_zero(q)) {
        *p++ = '0';
    } else if (q.format == KB_BINARY_SI && q.whole >= 1024) {
        p = put_binary(p, q);
    } else {
        if (q.format == KB_BINARY_SI)
            q.format = KB_DECIMAL_SI;
        p = put_decimal(p, q);
    }
    *p = '\0';
}

/* ---- arithmetic ---- */

int64_t kb_quantity_value(struct kb_quantity q)
{
    int64_t value = q.whole + (q.nano > 0 && q.whole < INT64_MAX);
    return q.negative ? -value : value;
}

int64_t kb_quantity_milli(struct kb_quantity q)
{
    int64_t milli;
    if (__builtin_mul_overflow(q.whole, 1000, &milli) ||
        __builtin_add_overflow(milli, (q.nano + 999999) / 1000000, &milli))
        milli = INT64_MAX;
    return q.negative ? -milli : milli;
}

int64_t kb_val_quantity(kb_val val, int64_t otherwise)
{
    struct kb_quantity q;
    return kb_quantity_of(val, &q, NULL) < 0 ? otherwise : kb_quantity_value(q);
}

int64_t kb_val_milli(kb_val val, int64_t otherwise)
{
    struct kb_quantity q;
    return kb_quantity_of(val, &q, NULL) < 0 ? otherwise : kb_quantity_milli(q);
}

int64_t kb_val_amount(kb_val val, kb_str resource, int64_t otherwise)
{
    int64_t amount =
        kb_str_is(resource, "cpu") ? kb_val_milli(val, otherwise) : kb_val_quantity(val, otherwise);
    return amount < 0 ? 0 : amount;
}

bool kb_quantity_is_zero(struct kb_quantity q)
{
    return q.whole == 0 && q.nano == 0;
}

static int size_cmp(struct kb_quantity a, struct kb_quantity b)
{
    if (a.whole != b.whole)
        return a.whole < b.whole ? -1 : 1;
    return a.nano < b.nano ? -1 : a.nano > b.nano;
}

int kb_quantity_cmp(struct kb_quantity a, struct kb_quantity b)
{
    if (a.negative != b.negative)
        return a.negative ? -1 : 1;
    return a.negative ? -size_cmp(a, b) : size_cmp(a, b);
}

struct kb_quantity kb_quantity_add(struct kb_quantity a, struct kb_quantity b)
{
    struct kb_quantity sum = {.format = kb_quantity_is_zero(a) ? b.format : a.format};
    if (a.negative == b.negative) {
        sum.negative = a.negative;
        sum.nano = a.nano + b.nano;
        int64_t carry = sum.nano >= NANO;
        sum.nano -= carry ? NANO : 0;
        if (__builtin_add_overflow(a.whole, b.whole, &sum.whole) ||
            __builtin_add_overflow(sum.whole, carry, &sum.whole)) {
            sum.whole = INT64_MAX;
            sum.nano = 0;
        }
        return sum;
    }
    struct kb_quantity large = size_cmp(a, b) >= 0 ? a : b, small = size_cmp(a, b) >= 0 ? b : a;
    bool borrow = large.nano < small.nano;
    sum.whole = large.whole - small.whole - borrow;
    sum.nano = large.nano - small.nano + (borrow ? NANO : 0);
    sum.negative = large.negative && !kb_quantity_is_zero(sum);
    return sum;
}

struct kb_quantity kb_quantity_sub(struct kb_quantity a, struct kb_quantity b)
{
    b.negative = !b.negative && !kb_quantity_is_zero(b);
    return kb_quantity_add(a, b);
}
