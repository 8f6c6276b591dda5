"""Scheduling policies as their author sees them: written, tried, loaded, edited and upgraded while a
cluster with three schedulers is at work."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from cluster import BUILD, KUBUS, Cluster

FILES = BUILD / "tests" / "policies"
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="kubus-policy-")
        cls.addClassCleanup(shutil.rmtree, cls.work, True)
        config = pathlib.Path(cls.work, "config.yaml")
        config.write_text(HEAD + "profiles: [{schedulerName: default-scheduler}, {schedulerName: other}]\n")
        cls.cluster = Cluster("policies", "--nodes", "0", "--hollow-nodes", "4", "--schedulers", "3",
                              "--scheduler-config", str(config)).__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.cluster.until(cls.ready, 60, "the nodes are ready")

    @classmethod
    def ready(cls):
        return sum(1 for n in cls.cluster.get("nodes")["items"] if not n["spec"].get("taints")) == 4

    def policy(self, *arguments, check=True, cwd=None):
        data = [] if arguments[0] == "new" else ["--data", self.cluster.data]
        done = subprocess.run([KUBUS, "policy", *arguments, *data], cwd=cwd, text=True, timeout=60,
                              capture_output=True)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout if check else done

    def new(self, name):
        """A folder from the template."""
        self.policy("new", name, cwd=self.work)
        return pathlib.Path(self.work, name)

    def build(self, folder, target="all"):
        env = {**os.environ, "CFLAGS": f"-I{BUILD}/include", "PKG_CONFIG_PATH": str(BUILD)}
        target = f"{folder.name}.so" if target == "all" else target
        done = subprocess.run(["make", target, f"KUBUS={KUBUS}"], cwd=folder, env=env, text=True,
                              capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def pods(self, name, replicas, scheduler="default-scheduler"):
        """A ReplicaSet; the nodes of its pods once all are bound."""
        spec = {"schedulerName": scheduler, "containers": [{"name": "main", "image": "x"}]}
        labels = {"app": name}
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": spec}}}))
        self.addCleanup(self.cluster.kubectl, "delete", "replicaset", name, check=False)

        def bound():
            items = self.cluster.get("pods", "-l", f"app={name}")["items"]
            nodes = [p["spec"]["nodeName"] for p in items if p["spec"].get("nodeName")]
            return nodes if len(nodes) == replicas else None
        return self.cluster.until(bound, 60, f"{name}: all pods are bound")

    def said(self):
        """What the schedulers say; less when one of them is away at this moment."""
        return self.policy("list", check=False).stdout

    def states(self, policy):
        lines = self.said().splitlines()
        return [re.split(r"\s{2,}|\s", line)[:5] for line in lines if f" {policy} " in line]

    def test_written_tried_loaded_upgraded_and_unloaded(self):
        folder = self.new("Fewest")
        self.assertIn("passed", self.build(folder, "test"))
        self.assertIn("at work", self.policy("load", str(folder / "Fewest.so"), "--args", '{"most": 2}'))
        self.assertEqual(len(self.states("Fewest")), 3)  # one a scheduler
        self.pods("full", 6)
        source = (folder / "Fewest.c").read_text()
        (folder / "Fewest.c").write_text(source.replace("had as many pods", "really had as many pods"))
        self.build(folder)
        self.assertIn(", was ", self.policy("upgrade", str(folder / "Fewest.so")))
        self.assertIn("already", self.policy("upgrade", str(folder / "Fewest.so")))
        self.cluster.kubectl("run", "one", "--image=x", "--", "x")
        self.addCleanup(self.cluster.kubectl, "delete", "pod", "one", "--now", check=False)
        self.policy("unload", "Fewest")
        self.assertEqual(self.states("Fewest"), [])
        self.pods("more", 30)

    def test_one_that_is_shipped_is_loaded_by_name_into_another_profile(self):
        self.policy("load", "BestFit", "--profile", "other", "--weight", "100")
        self.assertEqual([s[0] for s in self.states("BestFit")], ["other"] * 3)
        self.pods("packed", 4, "other")
        self.policy("unload", "BestFit", "--profile", "other")

    def test_the_list_may_be_of_one_profile(self):
        rest, listed = self.policy("list", "--profile", "other", "-o", "json").strip(), []
        while rest:
            state, end = json.JSONDecoder().raw_decode(rest)
            listed += [p["name"] for p in state["profiles"]]
            rest = rest[end:].strip()
        self.assertEqual(listed, ["other"] * 3)  # one a scheduler
        for output in ((), ("-o", "json")):
            done = self.policy("list", "--profile", "none", *output, check=False)
            self.assertEqual((done.returncode != 0, done.stdout), (True, ""))
            self.assertIn("there is no profile none", done.stderr)

    def test_a_bad_edit_is_refused_and_the_cluster_goes_on(self):
        good = self.cluster.get("configmap", "kubus-scheduler", "-n", "kube-system")["data"]
        self.cluster.kubectl("patch", "configmap", "kubus-scheduler", "-n", "kube-system", "--type=merge",
                             "-p", json.dumps({"data": {"config.yaml": HEAD + "wrong: 1\n"}}))
        self.cluster.until(lambda: "is refused" in self.policy("list"), 60, "it says so")
        self.assertIn('unknown field "wrong"', self.policy("list"))
        self.pods("unharmed", 5)

        def told():
            events = self.cluster.get("events", "-n", "kube-system")["items"]
            return any(e["reason"] == "ConfigurationRefused" and "wrong" in e["message"]
                       and e["involvedObject"]["name"] == "kubus-scheduler" for e in events)
        self.cluster.until(told, 60, "an event says why")
        self.cluster.kubectl("patch", "configmap", "kubus-scheduler", "-n", "kube-system", "--type=merge",
                             "-p", json.dumps({"data": good}))
        self.cluster.until(lambda: "is refused" not in self.policy("list"), 60, "all is well again")

    def test_what_cannot_be_loaded_is_told_and_changes_nothing(self):
        before = self.policy("list")
        for arguments, words in ((("load", "Nobody"), "there is no policy of this name"),
                                 (("load", "/nowhere.so"), "is not there"),
                                 (("load", str(KUBUS)), "dynamically load"),
                                 (("load", "BestFit", "--profile", "nobody"), "no profile nobody"),
                                 (("load", "BestFit", "--args", "["), "--args"),
                                 (("unload", "NodePorts"), "no profile names NodePorts"),
                                 (("frobnicate",), "there is no `kubus policy frobnicate`"),
                                 (("load",), "`kubus policy load` takes a name"),
                                 (("list", "x"), "`kubus policy list` takes no name")):
            done = self.policy(*arguments, check=False)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn(words, done.stderr, arguments)
        self.assertEqual(self.policy("list"), before)

    def misbehave(self, way):
        """Load a policy that does so from a dozen pods on; when it is held, all pods have their nodes."""
        self.policy("load", str(FILES / f"bad_{way}.so"))
        self.addCleanup(self.policy, "unload", "Bad", check=False)
        self.pods(f"bad-{way.lower()}", 24)
        self.pods(f"worse-{way.lower()}", 24)
        self.cluster.until(lambda: "Held" in str(self.states("Bad")), 60, "it is held")

    def test_one_that_crashes_is_held_and_the_cluster_goes_on(self):
        self.misbehave("CRASH")
        self.cluster.until(lambda: "crashed in score (SIGSEGV)" in self.said(), 60, "it says why")
        self.pods("after-crash", 10)

        def told():
            events = self.cluster.get("events", "-n", "kube-system")["items"]
            return any(e["reason"] == "PolicyHeld" and "policy Bad is held: crashed" in e["message"]
                       for e in events)
        self.cluster.until(told, 60, "an event says so")

    def test_one_that_talks_nonsense_is_held_until_it_is_mended(self):
        self.misbehave("NONSENSE")
        self.cluster.until(lambda: "score 1000 is not in 0" in self.said(), 60, "it says why")
        self.policy("resume", "Bad")
        for wrong, says in ((("resume", "Nobody"), "no policy Nobody is held"),
                            (("list", "--profile", "none"), "there is no profile none")):
            done = self.policy(*wrong, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.stdout + done.stderr)
        self.pods("again", 10)  # and soon it is held again
        self.policy("upgrade", str(FILES / "bad_GOOD.so"))
        self.pods("mended", 10)
        self.cluster.until(lambda: [s[4] for s in self.states("Bad")] == ["Active"] * 3, 60, "it is at work")

    def test_explain_says_of_each_node_why(self):
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "huge"},
            "spec": {"containers": [{"name": "main", "image": "x",
                                     "resources": {"requests": {"cpu": "1000"}}}]}}))
        self.addCleanup(self.cluster.kubectl, "delete", "pod", "huge", "--now", check=False)
        said = self.cluster.until(
            lambda: (lambda d: d.stdout if d.returncode == 0 else None)(
                self.policy("explain", "huge", check=False)), 60, "the pod is known")
        self.assertEqual(said.count("NodeResourcesFit: Insufficient cpu"), 4, said)
        self.pods("ok", 1)
        name = self.cluster.get("pods", "-l", "app=ok")["items"][0]["metadata"]["name"]
        said = self.policy("explain", f"default/{name}")
        self.assertIn("TOTAL", said)
        self.assertIn("NodeResourcesFit", said.splitlines()[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
