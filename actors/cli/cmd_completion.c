/* cmd_completion.c - `kubus completion SHELL`: a script from the table of commands. */
#include "actors/cli/command.h"

#include <stdio.h>

static void bash(void)
{
    printf("_kubus() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]}\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (const struct kb_command *c = kb_commands; c->name; c++)
        printf("%s ", c->name);
    printf("' -- \"$word\"))\n"
           "    elif [[ $word == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$(kubus \"${COMP_WORDS[1]}\" --help 2>/dev/null |\n"
           "            grep -o -- '--[a-z-]*')\" -- \"$word\"))\n"
           "    else\n"
           "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "    fi\n"
           "}\n"
           "complete -F _kubus kubus\n");
}

static void zsh(void)
{
    printf("#compdef kubus\n_kubus() {\n    local -a commands=(\n");
    for (const struct kb_command *c = kb_commands; c->name; c++)
        printf("        '%s:%s'\n", c->name, c->summary);
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command commands\n"
           "    else\n"
           "        local -a options=(${(f)\"$(kubus $words[2] --help 2>/dev/null |\n"
           "            grep -o -- '--[a-z-]*')\"})\n"
           "        _describe option options\n"
           "        _files\n"
           "    fi\n"
           "}\n"
           "compdef _kubus kubus\n");
}

static void fish(void)
{
    for (const struct kb_command *c = kb_commands; c->name; c++)
        printf("complete -c kubus -n __fish_use_subcommand -a %s -d '%s'\n", c->name, c->summary);
    printf("complete -c kubus -n 'not __fish_use_subcommand' -a "
           "'(kubus (commandline -opc)[2] --help 2>/dev/null | string match -r -- \"--[a-z-]+\")'"
           "\n");
}

int kb_cmd_completion(const struct kb_command *command, int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    struct kb_operands operands;
    int rc = kb_command_parse(command, NULL, 0, argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    for (size_t i = 0; operands.count == 1 && i < KB_COUNT(shells); i++) {
        if (strcmp(operands.items[0], shells[i].shell) == 0) {
            shells[i].print();
            return 0;
        }
    }
    return kb_command_misuse(command, "name a shell: bash, zsh or fish");
}
