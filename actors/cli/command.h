/* A command of the program: one row in the table of cli_main.c, one function in a cmd_*.c file. */
#ifndef KUBUS_CLI_COMMAND_H
#define KUBUS_CLI_COMMAND_H

#include "actors/cli/options.h"

struct kb_command {
    const char *name;
    const char *group;   /* heading in the overview */
    const char *summary; /* one line */
    const char *usage;   /* behind "kubus NAME " */
    const char *text;    /* what it does, with examples: for --help */
    int (*run)(const struct kb_command *command, int argc, char **argv);
};

/* Parse with the table plus --help, which prints the command's page. Returns 0 to go on, 1 when
 * help was printed (exit 0), -1 after an error was printed (exit 2). */
int kb_command_parse(const struct kb_command *command, const struct kb_opt *opts, size_t n,
                     int argc, char **argv, struct kb_operands *ret_operands);
/* "kubus NAME: TEXT" on standard error; returns the exit code 1. */
int kb_command_fail(const struct kb_command *command, const struct kb_err *err);
/* The same for wrong usage, with a hint at --help; returns 2. */
int kb_command_misuse(const struct kb_command *command, const char *format, ...) KB_PRINTF(2, 3);

/* All commands, ended by one without a name. */
extern const struct kb_command kb_commands[];

/* Where the cluster's data lies: `given`, else $KUBUS_DATA, else /var/lib/kubus for root and
 * ~/.local/share/kubus for others. An absolute path; caller frees. */
char *kb_data_dir(const char *given);

int kb_cmd_up(const struct kb_command *command, int argc, char **argv);
int kb_cmd_down(const struct kb_command *command, int argc, char **argv);
int kb_cmd_status(const struct kb_command *command, int argc, char **argv);
int kb_cmd_actors(const struct kb_command *command, int argc, char **argv);
int kb_cmd_kubeconfig(const struct kb_command *command, int argc, char **argv);
int kb_cmd_bus(const struct kb_command *command, int argc, char **argv);
int kb_cmd_completion(const struct kb_command *command, int argc, char **argv);
int kb_cmd_version(const struct kb_command *command, int argc, char **argv);
int kb_cmd_policy(const struct kb_command *command, int argc, char **argv);
int kb_cmd_get(const struct kb_command *command, int argc, char **argv);
int kb_cmd_describe(const struct kb_command *command, int argc, char **argv);
int kb_cmd_apply(const struct kb_command *command, int argc, char **argv);
int kb_cmd_delete(const struct kb_command *command, int argc, char **argv);
int kb_cmd_logs(const struct kb_command *command, int argc, char **argv);
int kb_cmd_exec(const struct kb_command *command, int argc, char **argv);

#endif
