/* Command-line options from a table: the same table parses, prints help and feeds completion. */
#ifndef KUBUS_CLI_OPTIONS_H
#define KUBUS_CLI_OPTIONS_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

enum kb_opt_kind {
    KB_OPT_FLAG, /* bool * */
    KB_OPT_TEXT, /* const char **: points into argv */
    KB_OPT_INT,  /* int64_t * */
    KB_OPT_LIST, /* struct kb_opt_list *: may be given several times */
};

enum { KB_OPT_LIST_MAX = 64 };
struct kb_opt_list {
    const char *items[KB_OPT_LIST_MAX];
    size_t count;
};

struct kb_opt {
    const char *name; /* "data", given as --data VALUE or --data=VALUE */
    char letter;      /* 0: none */
    enum kb_opt_kind kind;
    void *target;      /* holds the default before parsing */
    const char *value; /* placeholder in the help: "DIR" */
    const char *help;
    int64_t min, max; /* KB_OPT_INT */
};

/* The rest of the command line: operands in order, and what stood behind "--". */
struct kb_operands {
    const char *items[256];
    size_t count;
    const char **after_dashes; /* NULL without "--" */
    size_t after_count;
};

/* Parse argv[1..]. Options and operands may be mixed. -KB_EINVAL with a text for the user. */
int kb_options_parse(const struct kb_opt *opts, size_t n, int argc, char **argv,
                     struct kb_operands *ret_operands, struct kb_err *err);
/* One line an option, aligned. */
void kb_options_help(const struct kb_opt *opts, size_t n, struct kb_buf *out);

#endif
