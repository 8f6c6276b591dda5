/* `kubus sim`: the scheduler under a trace. */
#include "actors/scheduler/sim/contender.h"
#include "actors/scheduler/sim/generate.h"
#include "actors/scheduler/sim/options.h"
#include "actors/scheduler/sim/replay.h"
#include "bus/base/file.h"

#include <stdio.h>
#include <stdlib.h>

KB_API int kb_module_main(int argc, char **argv);

static const char help[] =
    "Runs the scheduler over a trace in virtual time: the same code and the same policy files as\n"
    "in a live cluster. A trace of ten thousand pods takes less than a second.\n"
    "\n"
    "Usage:\n"
    "  kubus sim        --nodes FILE --pods FILE [--policy P | --profile FILE] [options]\n"
    "  kubus sim sweep  --nodes FILE --pods FILE … [--policies A,B,…] [--seeds 42..51] [options]\n"
    "  kubus sim generate --out DIR [--node-count N] [--pod-count N] [--seed S]\n"
    "  kubus sim replay FILE [--policies FILE.so,…]\n"
    "\n"
    "A first run, with a trace that is made here:\n"
    "  kubus sim generate --out demo\n"
    "  kubus sim --nodes demo/nodes.csv --pods demo/pods.csv --policy FGD\n"
    "\n"
    "The comparison of Weng et al. (USENIX ATC 2023), in one command:\n"
    "  kubus sim sweep --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv \\\n"
    "      --tune 1.3 --seeds 42..51 --out paper        then open paper/page.html\n"
    "\n"
    "Your own policy against the six of that paper:\n"
    "  kubus sim sweep --nodes N.csv --pods P.csv --tune 1.3 --seeds 42..51 --out mine \\\n"
    "      --policies Random,DotProduct,GpuClustering,GpuPacking,BestFit,FGD,./mine.so\n"
    "\n"
    "What is simulated:\n"
    "  --nodes FILE       nodes: .csv (openb), .yaml, .json (Kubernetes objects), .jsonl; may be\n"
    "                     given several times\n"
    "  --pods FILE        pods, in the same formats; each file is a workload of its own\n"
    "  --policy P         a policy by name, or a FILE.so; its scores alone choose among the nodes\n"
    "                     that fit. Several, with commas between them, are compared.\n"
    "  --profile FILE     a KubeSchedulerConfiguration; each profile in it is compared. Policies\n"
    "                     that it names may be given as files by --policy.\n"
    "  --seed S           the seed (1), or a range of them: 42..51\n"
    "  --tune RATIO       not the trace's own times, but the experiment of that paper: its pods "
    "in\n"
    "                     random order, more of them drawn from it (or fewer) until they ask for\n"
    "                     RATIO times the GPUs that there are; they come one by one and stay\n"
    "  --drop             a pod that finds no place at once is dropped (with --tune always)\n"
    "  --ties even|first  among equally good nodes take any, or the first in an order drawn by "
    "the\n"
    "                     seed, as that paper's simulator does (default with --tune)\n"
    "  --fail NODE@T[+D]  the node fails at second T, for D seconds or for good\n"
    "  --fail-rate R      each node fails R times a day on average, for --repair seconds (600)\n"
    "\n"
    "What comes out:\n"
    "  a table; with --out DIR also runs.csv, summary.csv, page.html (plots; open it in a\n"
    "  browser) and, of a single run, decisions.csv and series.csv\n"
    "  --popularity P     for fragmentation: the typical pods are P percent of all (95)\n"
    "  --jobs N           runs at once (as many as there are cores)\n"
    "\n"
    "Replay:\n"
    "  `kubus up --record FILE` writes down what a live scheduler is told and what it decides;\n"
    "  `kubus sim replay FILE` tells it to a scheduler here, and shows where that one decides\n"
    "  otherwise (never, unless the program or a policy changed). Policies that were loaded\n"
    "  are named by --policies, those that were upgraded with all their versions:\n"
    "  --policies $(ls DATA/policies/*.so | paste -sd,)\n"
    "\n"
    "docs/simulate.md has it all.\n";

static int misuse(const char *text)
{
    fprintf(stderr, "kubus sim: %s\nTry `kubus sim --help`.\n", text);
    return 2;
}

/* ---- generate ---- */

static int write_trace(const struct kb_sim_options *o, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf nodes = {0}, pods = {0};
    KB_AUTO(kb_auto_free) char *nodes_path = kb_strf("%s/nodes.csv", o->out);
    KB_AUTO(kb_auto_free) char *pods_path = kb_strf("%s/pods.csv", o->out);
    kb_sim_generate(o->seed_from, o->node_count, o->pod_count, &nodes, &pods);
    int rc = kb_dir_make(o->out, 0755, err);
    rc = rc < 0 ? rc : kb_file_write(nodes_path, kb_buf_str(&nodes), 0644, err);
    rc = rc < 0 ? rc : kb_file_write(pods_path, kb_buf_str(&pods), 0644, err);
    if (rc == 0)
        printf("%s %s\n", nodes_path, pods_path);
    return rc;
}

static int generate(int argc, char **argv)
{
    struct kb_sim_options o = {.seed_from = 1, .node_count = 64, .pod_count = 1200};
    struct kb_err err = {0};
    if (kb_sim_options(argc, argv, &o, &err) < 0)
        return misuse(err.text);
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    if (o.out == NULL)
        return misuse("generate needs --out DIR");
    if (write_trace(&o, &err) < 0) {
        fprintf(stderr, "kubus sim: %s\n", err.text);
        return 1;
    }
    return 0;
}

/* ---- replay ---- */

static int replay_file(const char *path, struct kb_contenders *policies, struct kb_replay *replay,
                       struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    int rc = kb_file_read(path, KB_TRACE_MAX_BYTES, &text, err);
    return rc < 0 ? rc
                  : kb_replay_run(kb_buf_str(&text), path, kb_contender_resolve_version, policies,
                                  replay, err);
}

static int replay(int argc, char **argv)
{
    struct kb_sim_options o = {0};
    struct kb_err err = {0};
    KB_AUTO(kb_contenders_finish) struct kb_contenders policies = {0};
    KB_AUTO(kb_replay_finish) struct kb_replay r = {0};
    int rc = 0;
    if (kb_sim_options(argc, argv, &o, &err) < 0)
        return misuse(err.text);
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    if (o.rest.n != 1)
        return misuse("replay takes one FILE");
    for (size_t i = 0; rc == 0 && i < o.policies.n; i++)
        rc = kb_contenders_know(&policies, o.policies.at[i], &err);
    rc = rc < 0 ? rc : replay_file(o.rest.at[0], &policies, &r, &err);
    if (rc < 0) {
        fprintf(stderr, "kubus sim: %s\n", err.text);
        return 1;
    }
    if (r.report.n > 0)
        fputs(r.report.p, stdout);
    printf("%llu inputs, %llu decisions, %llu bindings, %llu differences\n",
           (unsigned long long)r.inputs, (unsigned long long)r.decisions,
           (unsigned long long)r.bindings, (unsigned long long)r.differences);
    return r.differences > 0 ? 1 : 0;
}

/* ---- run and sweep ---- */

static char six[] = "Random,DotProduct,GpuClustering,GpuPacking,BestFit,FGD";

static int compare(int argc, char **argv, bool sweep)
{
    struct kb_sim_options o = {.seed_from = 1, .seed_to = 1, .repair_s = 600};
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *command = kb_sim_command(argc, argv);
    if (sweep) {
        o.seed_from = 42;
        o.seed_to = 51;
    }
    argc -= sweep;
    argv += sweep;
    if (kb_sim_options(argc, argv, &o, &err) < 0)
        return misuse(err.text);
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    if (o.rest.n > 0) {
        kb_err_set(&err, KB_EINVAL, "there is no command '%s'", o.rest.at[0]);
        return misuse(err.text);
    }
    if (o.nodes.n == 0 || o.pods.n == 0)
        return misuse("--nodes and --pods are needed");
    if (sweep && o.policies.n == 0 && o.profile == NULL) {
        char *given[] = {argv[0], (char[]){"--policies"}, six, NULL};
        kb_sim_options(3, given, &o, &err);
    }
    return kb_sim_compare(&o, command);
}

int kb_module_main(int argc, char **argv)
{
    if (argc < 2) {
        fputs(help, stderr);
        return 2;
    }
    if (strcmp(argv[1], "generate") == 0)
        return generate(argc - 1, argv + 1);
    if (strcmp(argv[1], "replay") == 0)
        return replay(argc - 1, argv + 1);
    return compare(argc, argv, strcmp(argv[1], "sweep") == 0);
}
