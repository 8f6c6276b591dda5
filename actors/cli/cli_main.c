#include "actors/cli/command.h"

#include "bus/base/check.h"
#include "bus/base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int kb_module_main(int argc, char **argv);

const struct kb_command kb_commands[] = {
    {"up", "Cluster", "start a cluster on this machine", "[options]",
     "Starts kubusd and with it all actors of a cluster, and prints each as it becomes ready.\n"
     "Without --detach it stays in the foreground until Ctrl-C, which stops the cluster.\n"
     "The first start makes certificates and a kubeconfig file; the data stays for the next.\n\n"
     "  kubus up --detach\n"
     "  kubus up --data /tmp/lab --listen 127.0.0.1:7443 --nodes 2\n"
     "  kubus up --runtime hollow --hollow-nodes 1000 --detach\n",
     kb_cmd_up},
    {"down", "Cluster", "stop the cluster, its containers and its networks", "[options]",
     "Stops all actors in order, then removes containers and networks of its nodes. The data\n"
     "stays: `kubus up` goes on where it was.\n",
     kb_cmd_down},
    {"status", "Cluster", "actors, restarts, memory, revision", "[options]",
     "Shows the state of each actor and of the store.\n", kb_cmd_status},
    {"actors", "Cluster", "list, stop or start actors", "[stop|start|restart NAME …] [options]",
     "Without a word the names of the actors, one a line. A stopped actor stays stopped until it\n"
     "is started: what a node's failure looks like, for instance.\n\n"
     "  kubus actors stop agent/node-2\n"
     "  kubus actors start agent/node-2\n",
     kb_cmd_actors},
    {"kubeconfig", "Cluster", "the path of the kubeconfig file", "[options]",
     "Prints the path of the administrator's kubeconfig:\n\n"
     "  export KUBECONFIG=$(kubus kubeconfig)\n",
     kb_cmd_kubeconfig},
    {"store", "Cluster", "backup, restore and check of the database", "backup|restore|check …",
     "  kubus store backup FILE     of a running cluster\n"
     "  kubus store restore FILE    into an empty data folder\n"
     "  kubus store check           of a stopped or running one\n",
     NULL},
    {"bus", "Cluster", "show the messages of a view live", "tail [VIEW]",
     "Follows a view of the store and prints every change, one line each:\n\n"
     "  kubus bus tail 'pods?ns=default'\n"
     "  kubus bus tail deployments.apps -o json\n",
     kb_cmd_bus},
    {"sim", "Scheduling", "run the scheduler over a trace, compare policies", "[sweep] …",
     "  kubus sim --help            all about it\n"
     "  kubus sim --nodes N.csv --pods P.csv --policy FGD\n"
     "  kubus sim sweep --nodes N.csv --pods P.csv --tune 1.3 --out DIR\n",
     NULL},
    {"policy", "Scheduling", "load, upgrade and hold scheduling policies, live",
     "list|load|upgrade|unload|resume|explain|new …",
     "A policy is one file that includes <kubus/policy.h>; docs/write-a-policy.md builds one.\n\n"
     "  kubus policy list                    what is at work, and what is held and why\n"
     "  kubus policy new NAME                a folder that builds and tests a policy\n"
     "  kubus policy load FILE.so [--profile P] [--weight W] [--args JSON]\n"
     "  kubus policy load FGD                one that is shipped\n"
     "  kubus policy upgrade FILE.so         the next version, under load\n"
     "  kubus policy unload NAME\n"
     "  kubus policy resume NAME             try again one that is held\n"
     "  kubus policy explain NS/POD          for each node who refuses it, or its scores\n\n"
     "The configuration itself is a KubeSchedulerConfiguration in the configmap\n"
     "kube-system/kubus-scheduler: `kubectl edit` changes it live as well.\n",
     kb_cmd_policy},
    {"get", "Objects", "list objects", "RESOURCE [NAME …] [options]",
     "  kubus get pods -A\n"
     "  kubus get all --show-labels\n"
     "  kubus get deployment web -o yaml\n"
     "  kubus get pods -w -l app=web\n",
     kb_cmd_get},
    {"describe", "Objects", "objects with their events", "RESOURCE [NAME …] [options]",
     "  kubus describe pod web-0\n"
     "  kubus describe pods -l app=web\n",
     kb_cmd_describe},
    {"apply", "Objects", "create or change objects from a file", "-f FILE [options]",
     "Creates what is not there and changes what is, as `kubectl apply` does; both keep the\n"
     "last applied configuration in the same annotation.\n\n"
     "  kubus apply -f web.yaml\n"
     "  cat web.yaml | kubus apply -f -\n",
     kb_cmd_apply},
    {"delete", "Objects", "delete objects", "RESOURCE NAME … | -f FILE [options]",
     "  kubus delete pod web-0\n"
     "  kubus delete -f web.yaml\n",
     kb_cmd_delete},
    {"logs", "Objects", "what a container printed", "POD|RESOURCE/NAME [options]",
     "  kubus logs web-0 -f --tail 20\n"
     "  kubus logs deployment/web      of one of its pods\n",
     kb_cmd_logs},
    {"exec", "Objects", "run a command in a container",
     "POD|RESOURCE/NAME [options] -- COMMAND [ARG …]",
     "  kubus exec web-0 -- ls /\n"
     "  kubus exec deployment/web -- hostname\n"
     "  kubus exec -it web-0 -- sh\n",
     kb_cmd_exec},
    {"completion", "Other", "completion for bash, zsh or fish", "bash|zsh|fish",
     "  source <(kubus completion bash)\n", kb_cmd_completion},
    {"version", "Other", "the version of this program", "", "", kb_cmd_version},
    {0},
};

static const struct kb_command *command_find(const char *name)
{
    for (const struct kb_command *c = kb_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static void overview(void)
{
    const char *group = "";
    printf("Kubus is an orchestrator with the Kubernetes API.\n\nUsage: kubus COMMAND [options]\n");
    for (const struct kb_command *c = kb_commands; c->name; c++) {
        if (strcmp(group, c->group) != 0)
            printf("\n%s\n", c->group);
        group = c->group;
        printf("  %-12s %s\n", c->name, c->summary);
    }
    printf("\n`kubus COMMAND --help` explains a command. First steps:\n\n"
           "  kubus up --detach\n"
           "  export KUBECONFIG=$(kubus kubeconfig)\n"
           "  kubectl create deployment web --image=busybox -- httpd -f -p 8080\n"
           "  kubectl get pods -w\n");
}

static void page(const struct kb_command *command, const struct kb_opt *opts, size_t n)
{
    KB_AUTO(kb_buf_finish) struct kb_buf help = {0};
    kb_options_help(opts, n, &help);
    printf("Usage: kubus %s %s\n\n%s\n%s", command->name, command->usage, command->text,
           help.n ? "Options:\n" : "");
    fwrite(help.p, 1, help.n, stdout);
}

int kb_command_parse(const struct kb_command *command, const struct kb_opt *opts, size_t n,
                     int argc, char **argv, struct kb_operands *ret)
{
    struct kb_err err = {0};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
            continue;
        page(command, opts, n);
        return 1;
    }
    if (kb_options_parse(opts, n, argc, argv, ret, &err) < 0) {
        kb_command_misuse(command, "%s", err.text);
        return -1;
    }
    return 0;
}

int kb_command_fail(const struct kb_command *command, const struct kb_err *err)
{
    fprintf(stderr, "kubus %s: %s\n", command->name, err->text);
    return 1;
}

int kb_command_misuse(const struct kb_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "kubus %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nUsage: kubus %s %s\n`kubus %s --help` explains it.\n", command->name,
            command->usage, command->name);
    va_end(args);
    return 2;
}

char *kb_data_dir(const char *given)
{
    const char *dir = given ? given : getenv("KUBUS_DATA");
    const char *home = getenv("HOME");
    if (dir == NULL && geteuid() == 0)
        dir = "/var/lib/kubus";
    if (dir == NULL)
        return kb_strf("%s/.local/share/kubus", home ? home : "/tmp");
    if (dir[0] == '/')
        return kb_str_dup(kb_str_of(dir));
    char cwd[PATH_MAX];
    KB_ASSERT(getcwd(cwd, sizeof(cwd)) != NULL);
    return kb_strf("%s/%s", cwd, dir);
}

__attribute__((visibility("default"))) int kb_module_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    kb_log_init("kubus");
    char flag[] = "--help", *help[] = {argv[0], argc > 2 ? argv[2] : NULL, flag, NULL};
    if (strcmp(name, "help") == 0 && help[1]) { /* as `kubus COMMAND --help` */
        name = help[1];
        argc = 3;
        argv = help;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        overview();
        return 0;
    }
    const struct kb_command *command = command_find(name);
    if (command == NULL || command->run == NULL) {
        fprintf(stderr, "kubus: unknown command '%s'; `kubus help` lists them\n", name);
        return 2;
    }
    return command->run(command, argc - 1, argv + 1);
}
