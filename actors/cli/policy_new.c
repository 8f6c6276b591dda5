/* policy_new.c - the folder that `kubus policy new` writes. In the texts %N stands for the name and
 * %K for the path of this program: its header is found beside it, in a build tree as well as where
 * it is installed. */
#include "actors/cli/policy_new.h"

#include "bus/base/check.h"
#include "bus/base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char source[] =
    "/* %N: prefer the node with the fewest pods. Change what it says.\n"
    " *\n"
    " * <kubus/policy.h> is the reference. A verdict or a score may depend on the pod, the node's "
    "own\n"
    " * columns and the arguments; with .flags = KB_POLICY_GLOBAL on everything. */\n"
    "#include <kubus/policy.h>\n"
    "\n"
    "/* \"pluginConfig\" of the profile, e.g. {\"most\": 50}: how many pods a node may have. */\n"
    "static int configure(const struct kb_policy_host *host, const char *args, void "
    "**ret_instance,\n"
    "                     char *error, size_t error_bytes)\n"
    "{\n"
    "    (void)host, (void)error, (void)error_bytes;\n"
    "    int64_t *most = malloc(sizeof(*most));\n"
    "    if (most == NULL)\n"
    "        return -1;\n"
    "    *most = (int64_t)kb_policy_number(args, \"most\", 1000000);\n"
    "    *ret_instance = most;\n"
    "    return 0;\n"
    "}\n"
    "\n"
    "/* For nodes from … to-1: 0 fits, or a code that `reason` puts into words. */\n"
    "static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)\n"
    "{\n"
    "    const int64_t *pods = c->nodes->requested[KB_POLICY_PODS], most = *(int64_t "
    "*)c->instance;\n"
    "    for (uint32_t i = from; i < to; i++)\n"
    "        verdict[i - from] = pods[i] >= most;\n"
    "}\n"
    "\n"
    "static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)\n"
    "{\n"
    "    (void)c, (void)code;\n"
    "    emit(to, \"node(s) had as many pods as %N allows\");\n"
    "}\n"
    "\n"
    "/* Any numbers ≥ 0; KB_POLICY_REVERSE makes 100 of the lowest and 0 of the highest. */\n"
    "static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)\n"
    "{\n"
    "    const int64_t *pods = c->nodes->requested[KB_POLICY_PODS];\n"
    "    for (uint32_t i = from; i < to; i++)\n"
    "        score_out[i - from] = pods[i];\n"
    "}\n"
    "\n"
    "KB_POLICY(%N, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_POD_DELETE,\n"
    "          .normalize_by = KB_POLICY_REVERSE, .weight = 1, .configure = configure,\n"
    "          .unload = free, .filter = filter, .reason = reason, .score = score);\n";

static const char makefile[] =
    "# make: %N.so    make test: place the pods of pods.yaml on the nodes of nodes.yaml with it\n"
    "KUBUS ?= %K\n"
    "CFLAGS ?= -O2 -g\n"
    "KUBUS_CFLAGS ?= -I$(dir $(KUBUS))../include\n"
    "\n"
    "%N.so: %N.c\n"
    "\t$(CC) -std=c17 -Wall -Wextra -fPIC -fvisibility=hidden $(KUBUS_CFLAGS) $(CFLAGS) -shared "
    "\\\n"
    "\t    -o $@ $<\n"
    "\n"
    "test: %N.so\n"
    "\t$(KUBUS) sim --nodes nodes.yaml --pods pods.yaml --profile profile.yaml \\\n"
    "\t    --policy ./%N.so --out out > out.txt || { cat out.txt; false; }\n"
    "\tcut -d, -f5-7 out/decisions.csv > placed.csv\n"
    "\tdiff expected.csv placed.csv && echo passed\n"
    "\n"
    "clean:\n"
    "\trm -rf %N.so out out.txt placed.csv\n"
    "\n"
    ".PHONY: test clean\n";

static const char nodes[] = "apiVersion: v1\n"
                            "kind: Node\n"
                            "metadata: {name: small}\n"
                            "status: {allocatable: {cpu: \"2\", memory: 4Gi, pods: \"110\"}}\n"
                            "---\n"
                            "apiVersion: v1\n"
                            "kind: Node\n"
                            "metadata: {name: large}\n"
                            "status: {allocatable: {cpu: \"16\", memory: 64Gi, pods: \"110\"}}\n";

static const char pods[] =
    "apiVersion: v1\n"
    "kind: Pod\n"
    "metadata: {name: a}\n"
    "spec: {containers: [{name: main, image: x, resources: {requests: {cpu: \"4\"}}}]}\n"
    "---\n"
    "apiVersion: v1\n"
    "kind: Pod\n"
    "metadata: {name: b}\n"
    "spec: {containers: [{name: main, image: x, resources: {requests: {cpu: 100m}}}]}\n";

static const char profile[] = "apiVersion: kubescheduler.config.k8s.io/v1\n"
                              "kind: KubeSchedulerConfiguration\n"
                              "profiles:\n"
                              "- schedulerName: default-scheduler\n"
                              "  plugins:\n"
                              "    multiPoint: {enabled: [{name: %N}]}\n"
                              "    score: {disabled: [{name: '*'}], enabled: [{name: %N}]}\n"
                              "  pluginConfig:\n"
                              "  - {name: %N, args: {most: 50}}\n";

static const char expected[] = "pod,fate,node\n"
                               "default/a,bound,large\n"
                               "default/b,bound,small\n";

static const char readme[] =
    "# %N: a scheduling policy for Kubus\n"
    "\n"
    "    make test                        # builds it and checks where the pods of pods.yaml go\n"
    "    kubus policy load ./%N.so         # into the running cluster\n"
    "    kubus policy upgrade ./%N.so      # after a change, under load\n"
    "    kubus policy list\n"
    "    kubus policy unload %N\n"
    "\n"
    "Measured against others on a trace:\n"
    "\n"
    "    kubus sim generate --out demo\n"
    "    kubus sim sweep --nodes demo/nodes.csv --pods demo/pods.csv --policies "
    "BestFit,DotProduct,./%N.so --out mine\n";

static const struct {
    const char *file, *text;
} files[] = {{"%N.c", source},          {"Makefile", makefile},
             {"nodes.yaml", nodes},     {"pods.yaml", pods},
             {"profile.yaml", profile}, {"expected.csv", expected},
             {"README.md", readme},     {".gitignore", "*.so\nout/\nout.txt\nplaced.csv\n"}};

static void fill(struct kb_buf *out, const char *text, const char *name, const char *kubus)
{
    for (const char *at; (at = strchr(text, '%')) != NULL; text = at + 2) {
        KB_ASSERT(at[1] == 'N' || at[1] == 'K');
        kb_buf_add(out, text, (size_t)(at - text));
        kb_buf_puts(out, at[1] == 'N' ? name : kubus);
    }
    kb_buf_puts(out, text);
}

static bool is_name(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n < 64 && name[n] == '\0' && (name[0] < '0' || name[0] > '9');
}

int kb_policy_new(const char *name, struct kb_err *err)
{
    if (!is_name(name))
        return kb_err_set(err, KB_EINVAL, "'%s' is no name for a policy: letters and digits", name);
    if (access(name, F_OK) == 0)
        return kb_err_set(err, KB_EEXISTS, "'%s' is there already", name);
    char kubus[PATH_MAX];
    if (realpath("/proc/self/exe", kubus) == NULL)
        return kb_err_set(err, KB_EIO, "/proc/self/exe: %m");
    int rc = kb_dir_make(name, 0755, err);
    for (size_t i = 0; rc == 0 && i < KB_COUNT(files); i++) {
        KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
        kb_buf_printf(&path, "%s/", name);
        fill(&path, files[i].file, name, kubus);
        fill(&text, files[i].text, name, kubus);
        rc = kb_file_write(path.p, kb_buf_str(&text), 0644, err);
    }
    if (rc == 0)
        printf("%s/ is ready: cd %s && make test\n", name, name);
    return rc;
}
