"""`kubus sim` as people call it: on the trace in tests/data/gpu, with policies by name, as a file, in a profile."""
import csv
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build"))
TRACE = ["--nodes", TOP / "tests/data/gpu/nodes.csv", "--pods", TOP / "tests/data/gpu/pods.csv"]

MINE = r"""
#include <kubus/policy.h>

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score)
{
    for (uint32_t i = from; i < to; i++)
        score[i - from] = WHAT;
}

KB_POLICY(Mine, .normalize_by = KB_POLICY_REVERSE, .weight = 1, .score = score);
"""

PROFILES = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
  plugins:
    multiPoint: {enabled: [{name: FGD, weight: 3}]}
    score: {disabled: [{name: NodeResourcesFit}, {name: NodeResourcesBalancedAllocation}]}
- schedulerName: plain
"""


class Simulation(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kubus-sim-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def sim(self, *arguments, fails=False):
        done = subprocess.run([BUILD / "bin/kubus", "sim", *map(str, arguments)], capture_output=True,
                              text=True, timeout=100, check=False)
        self.assertEqual(done.returncode != 0, fails, done.stdout + done.stderr)
        return done.stderr if fails else done.stdout

    def rows(self, name):
        with open(self.dir / name, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def policy(self, what):
        source, library = self.dir / "mine.c", self.dir / "mine.so"
        source.write_text(MINE.replace("WHAT", what))
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-I", BUILD / "include", source,
                        "-o", library], check=True)
        return library

    def test_a_sweep_over_policies_and_seeds(self):
        out = self.sim("sweep", *TRACE, "--tune", "1.3", "--seeds", "1..3", "--out", self.dir)
        self.assertIn("mean ± standard deviation over the seeds", out)
        runs, summary = self.rows("runs.csv"), self.rows("summary.csv")
        self.assertEqual(len(runs), 18)
        self.assertEqual([r["policy"] for r in summary],
                         ["Random", "DotProduct", "GpuClustering", "GpuPacking", "BestFit", "FGD"])
        share = {r["policy"]: float(r["gpu_pct_mean"]) for r in summary}
        self.assertGreater(share["FGD"], share["Random"])
        mine = [float(r["gpu_pct"]) for r in runs if r["policy"] == "FGD"]
        self.assertAlmostEqual(share["FGD"], sum(mine) / 3, places=3)
        page = (self.dir / "page.html").read_text(encoding="utf-8")
        self.assertEqual(page.count('"seed":'), 18)
        self.assertNotIn("/*DATA*/null", page)

    def test_equal_seeds_give_equal_decisions_and_others_do_not(self):
        made = []
        for seed in (5, 5, 6):
            self.sim(*TRACE, "--policy", "FGD", "--seed", seed, "--out", self.dir)
            made.append((self.dir / "decisions.csv").read_text())
        self.assertEqual(made[0], made[1])
        self.assertNotEqual(made[0], made[2])
        decisions = self.rows("decisions.csv")
        self.assertEqual(len(decisions), 1200)
        self.assertEqual({d["fate"] for d in decisions}, {"bound"})

    def test_a_policy_of_ones_own_is_a_file_of_a_few_lines(self):
        library = self.policy("c->nodes->requested[KB_POLICY_PODS][i]")
        self.sim(*TRACE, "--policies", f"BestFit,{library}", "--tune", "1.2", "--out", self.dir)
        self.assertEqual([r["policy"] for r in self.rows("summary.csv")], ["BestFit", "Mine"])

    def test_a_policy_that_crashes_is_named(self):
        library = self.policy("*(volatile int64_t *)(uintptr_t)(i - i)")
        said = self.sim(*TRACE, "--policies", f"BestFit,{library}", "--tune", "1.2", fails=True)
        self.assertRegex(said, r"Mine, seed 1: the run ended by")

    def test_a_policy_that_returns_nonsense_is_no_result(self):
        library = self.policy("-(int64_t)i - 1")
        said = self.sim(*TRACE, "--policy", library, "--tune", "1.2", fails=True)
        self.assertRegex(said, r"seed 1: policy Mine: ")

    def test_profiles_of_a_configuration(self):
        (self.dir / "profile.yaml").write_text(PROFILES)
        self.sim(*TRACE, "--profile", self.dir / "profile.yaml", "--policy", "Random", "--out", self.dir)
        self.assertEqual([r["policy"] for r in self.rows("summary.csv")], ["Random", "default-scheduler", "plain"])
        self.assertEqual({r["bound"] for r in self.rows("runs.csv")}, {"1200"})

    def test_nodes_that_fail_lose_no_pod(self):
        self.sim(*TRACE, "--policy", "FGD", "--fail-rate", "0.5", "--fail", "node-0001@5000+600", "--out", self.dir)
        fates = [d["fate"] for d in self.rows("decisions.csv")]
        self.assertGreater(fates.count("lost"), 0)
        self.assertEqual(fates.count("bound"), 1200)

    def test_mistakes_are_said_in_one_line(self):
        broken = self.dir / "broken.csv"
        broken.write_text("name,cpu_milli,memory_mib\np1,1,1\np2,many,1\n")
        for arguments, says in (
                (["--pods", "x.csv"], "--nodes and --pods are needed"),
                ([*TRACE[:2], "--pods", broken], f"{broken}:3: not an amount: 'many'"),
                ([*TRACE, "--fail", "nobody@1"], "there is no node 'nobody', which is to fail"),
                ([*TRACE, *TRACE[:2]], "is there twice"),
                ([*TRACE, "--policy", "Gone"], "there is no policy 'Gone'"),
                ([*TRACE, "--tune", "much"], "--tune takes a number"),
                ([*TRACE, "--seeds", "9..2"], "a range like 42..51"),
                (["frobnicate"], "there is no command 'frobnicate'")):
            said = self.sim(*arguments, fails=True)
            self.assertTrue(re.match(r"kubus sim: .*" + re.escape(says), said), said)

    def test_a_trace_that_is_made_is_the_same_each_time(self):
        for name in ("a", "b"):
            self.sim("generate", "--out", self.dir / name, "--seed", "1")
        for name in ("nodes.csv", "pods.csv"):
            made = [(folder / name).read_text() for folder in
                    (self.dir / "a", self.dir / "b", TOP / "tests/data/gpu")]
            self.assertEqual(made[0], made[1])
            self.assertEqual(made[0], made[2])


if __name__ == "__main__":
    unittest.main()
