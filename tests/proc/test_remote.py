"""A scheduling policy in Python: the example under plugins/examples/python, asked by the policy Remote. While it
is away pods wait, and when it talks nonsense they wait too, and say why. A kernel, a store and a scheduler."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(TOP / "tests" / "e2e")]

import revision_log  # noqa: E402
from processes import ProcessTest  # noqa: E402

EXAMPLES = TOP / "plugins" / "examples" / "python"
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
NONSENSE = """
import sys
sys.path.insert(0, sys.argv[2])
from kubus_bus import Bus
bus = Bus(sys.argv[1], "judge")
bus.serve({"policy.judge": lambda question: {"score": [1000 for _ in question["nodes"]["name"]]}})
bus.run()
"""


def node(name, tier):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"tier": tier}},
            "status": {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "500"}}}


def pod(name, tier):
    requests = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "t", "uid": f"uid-{name}", "labels": {"tier": tier}},
            "spec": {"containers": [{"name": "main", "image": "x", "resources": requests}]},
            "status": {"phase": "Pending"}}


class Remote(ProcessTest):
    def setUp(self):
        self.start("remote", {name: ["actor", name] for name in ("store", "scheduler")})
        for i in range(6):
            self.put(f"nodes//n{i}", node(f"n{i}", "ab"[i % 2]))

    def put(self, key, doc):
        return self.bus.call("store", "store.txn", {"ops": [{"op": "put", "key": key, "doc": doc}]})["rev"]

    def configure(self, **args):
        text = ", ".join(f"{k}: {v}" for k, v in {"service": "judge", "labels": "tier", **args}.items())
        config = (f"{HEAD}profiles: [{{plugins: {{multiPoint: {{enabled: [{{name: Remote}}]}}}}, "
                  f"pluginConfig: [{{name: Remote, args: {{{text}}}}}]}}]\n")
        rev = self.put("configmaps/kube-system/kubus-scheduler",
                       {"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yaml": config},
                        "metadata": {"name": "kubus-scheduler", "namespace": "kube-system", "uid": "u"}})

        def done():
            state = self.bus.call("scheduler", "scheduler.policies")
            self.assertEqual(state["message"], "")
            return state["rev"] >= rev
        self.until(done, "it is at work")

    def judge(self, script=None):
        command = [sys.executable, str(EXAMPLES / "judge.py"), self.data]
        if script:
            path = pathlib.Path(tempfile.mkdtemp(dir=self.data), "judge.py")
            path.write_text(script)
            command = [sys.executable, str(path), self.data, str(EXAMPLES)]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        process.kill()
        process.wait(10)

    def pods(self):
        return [p["doc"] for p in self.bus.call("store", "store.list", {"view": "pods"})["items"]]

    def bound(self, n):
        return sum(1 for p in self.pods() if p["spec"].get("nodeName")) == n

    def messages(self):
        return {c["message"] for p in self.pods() for c in p["status"].get("conditions", [])
                if c["status"] == "False"}

    def add(self, start, n):
        ops = [{"op": "put", "key": f"pods/t/p{i}", "doc": pod(f"p{i}", "ab"[i % 2])}
               for i in range(start, start + n)]
        self.bus.call("store", "store.txn", {"ops": ops})

    def check(self):
        changes = list(self.bus.replay("pods"))
        self.assertEqual(revision_log.bindings(changes), [])
        for p in self.pods():
            where, tier = int(p["spec"]["nodeName"][1:]), p["metadata"]["labels"]["tier"]
            self.assertEqual("ab"[where % 2], tier)

    def test_pods_go_where_the_service_says(self):
        self.judge()
        self.configure(pods=8)
        self.add(0, 300)
        self.until(lambda: self.bound(300), "all are bound")
        self.check()
        self.assertEqual(self.state("scheduler")["restarts"], 0)

    def test_while_the_service_is_away_pods_wait_and_say_why(self):
        first = self.judge()
        self.configure(pods=4, timeoutMs=300)
        self.add(0, 40)
        self.until(lambda: self.bound(40), "all are bound")
        self.end(first)
        self.put("nodes//n6", node("n6", "a"))  # what it said is not of these nodes
        self.add(40, 40)
        self.until(lambda: any("policy service judge" in m for m in self.messages()), "it says why")
        self.assertFalse(self.bound(80))
        self.judge()
        self.until(lambda: self.bound(80), "the next one answers")
        self.check()

    def test_without_the_service_an_optional_one_is_left_out(self):
        self.configure(pods=16, timeoutMs=100, optional=1)
        self.add(0, 40)
        self.until(lambda: self.bound(40), "all are bound")

    def test_nonsense_is_told_and_not_used(self):
        wrong = self.judge(NONSENSE)
        self.configure(timeoutMs=2000)
        self.add(0, 4)
        self.until(lambda: "policy service judge: score[0] is not in 0 … 100" in self.messages(), "told")
        self.assertTrue(self.bound(0))
        self.end(wrong)
        self.judge()
        self.until(lambda: self.bound(4), "the right one answers")
        self.check()

    def test_unloaded_while_pods_wait_for_it_it_is_not_waited_for(self):
        self.configure(timeoutMs=60000)
        self.add(0, 10)
        self.put("configmaps/kube-system/kubus-scheduler",
                 {"apiVersion": "v1", "kind": "ConfigMap", "data": {},
                  "metadata": {"name": "kubus-scheduler", "namespace": "kube-system", "uid": "u"}})
        self.until(lambda: self.bound(10), "all are bound")


if __name__ == "__main__":
    unittest.main(verbosity=2)
