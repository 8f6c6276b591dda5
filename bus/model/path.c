#include "bus/model/path.h"

enum { INDEX_MAX_DIGITS = 9 };

/* "[12]", and what may stand behind it. */
static bool next_index(const char **path, struct kb_path_step *ret)
{
    const char *p = *path + 1, *digits = p;
    size_t index = 0;
    while (*p >= '0' && *p <= '9' && p - digits < INDEX_MAX_DIGITS)
        index = index * 10 + (size_t)(*p++ - '0');
    if (p == digits || *p != ']' || (p[1] != '\0' && p[1] != '.' && p[1] != '['))
        return false;
    *ret = (struct kb_path_step){.index = index, .is_index = true};
    *path = p + 1;
    return true;
}

/* A dot is taken together with the step before it, where a name follows. */
bool kb_path_next(const char **path, struct kb_path_step *ret)
{
    if (**path == '[') {
        if (!next_index(path, ret))
            return false;
    } else {
        size_t n = 0;
        while ((*path)[n] && (*path)[n] != '.' && (*path)[n] != '[')
            n++;
        if (n == 0)
            return false;
        *ret = (struct kb_path_step){.name = kb_str_n(*path, n)};
        *path += n;
    }
    if ((*path)[0] == '.' && (*path)[1] != '\0' && (*path)[1] != '.' && (*path)[1] != '[')
        ++*path;
    return true;
}

bool kb_path_is_good(const char *path)
{
    struct kb_path_step step;
    if (*path == '\0')
        return false;
    while (kb_path_next(&path, &step))
        ;
    return *path == '\0';
}
