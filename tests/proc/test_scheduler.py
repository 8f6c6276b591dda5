"""The scheduler as a process: a kernel, a store and a scheduler, nothing else. It is killed again and again
while pods are written, and in the end every pod is bound, once, and no node holds more than it can."""
import os
import pathlib
import random
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(TOP / "tests" / "e2e")]

import revision_log  # noqa: E402
from processes import ProcessTest  # noqa: E402

NODES, CPUS, PODS, KILLS = 8, 32, 256, 6


def node(name, cpus):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"cpu": str(cpus), "memory": "64Gi", "pods": "110"}}}


def pod(name, cpu, **spec):
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "t", "uid": f"uid-{name}"},
            "spec": {"containers": [container], "schedulerName": "default-scheduler", **spec},
            "status": {"phase": "Pending"}}


class SchedulerProcess(ProcessTest):
    def setUp(self):
        self.start("scheduler", {name: ["actor", name] for name in ("store", "scheduler")})

    def put(self, key, doc):
        return self.bus.call("store", "store.txn", {"ops": [{"op": "put", "key": key, "doc": doc}]})

    def pods(self):
        return self.bus.call("store", "store.list", {"view": "pods"})["items"]

    def bound(self):
        return [p for p in self.pods() if p["doc"]["spec"].get("nodeName")]

    def test_a_pod_is_bound_and_one_that_fits_nowhere_is_told_why(self):
        self.put("nodes//n1", node("n1", 2))
        self.put("pods/t/fits", pod("fits", "1"))
        self.put("pods/t/huge", pod("huge", "3"))
        self.until(lambda: len(self.bound()) == 1, "the pod that fits is bound")
        self.until(lambda: len(self.pods()[1]["doc"]["status"].get("conditions", [])) == 1, "told")
        fits, huge = (p["doc"] for p in self.pods())
        self.assertEqual(fits["spec"]["nodeName"], "n1")
        self.assertEqual(fits["status"]["conditions"][0]["status"], "True")
        self.assertEqual(huge["status"]["conditions"][0]["message"],
                         "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                         "available: 1 Preemption is not helpful for scheduling.")
        why = self.bus.call("scheduler", "scheduler.explain", {"key": "pods/t/huge"})["nodes"]
        self.assertEqual(why, [{"name": "n1", "refusedBy": "NodeResourcesFit",
                                "reasons": ["Insufficient cpu"]}])
        self.put("nodes//n2", node("n2", 4))
        self.until(lambda: len(self.bound()) == 2, "the new node takes the huge one")

    def test_killed_at_any_moment_it_goes_on_and_binds_each_pod_once(self):
        rand = random.Random(os.environ.get("KUBUS_TEST_SEED", "1"))
        for i in range(NODES):
            self.put(f"nodes//n{i}", node(f"n{i}", CPUS))
        for i in range(PODS):
            self.put(f"pods/t/p{i}", pod(f"p{i}", "1"))
            if i % (PODS // KILLS) == PODS // KILLS - 1:
                some = rand.randrange(i + 1)  # bound by then: any moment of its work
                self.until(lambda: len(self.bound()) >= some, "the new one goes on", timeout=60)
                self.until(lambda: self.state("scheduler")["state"] == "ready", "it is back")
                self.kill("scheduler")
        self.until(lambda: len(self.bound()) == PODS, "all pods are bound", timeout=90)
        changes = list(self.bus.replay("pods"))
        self.assertEqual(revision_log.order(changes), [])
        self.assertEqual(revision_log.bindings(changes), [])
        for i in range(NODES):
            here = [p for p in self.bound() if p["doc"]["spec"]["nodeName"] == f"n{i}"]
            self.assertEqual(len(here), CPUS)


GANG = """apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- plugins:
    queueSort: {enabled: [{name: Gang}], disabled: [{name: PrioritySort}]}
    multiPoint: {enabled: [{name: Gang}]}
"""


class Gangs(SchedulerProcess):
    test_a_pod_is_bound_and_one_that_fits_nowhere_is_told_why = None
    test_killed_at_any_moment_it_goes_on_and_binds_each_pod_once = None

    def setUp(self):
        super().setUp()
        config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yaml": GANG},
                  "metadata": {"name": "kubus-scheduler", "namespace": "kube-system", "uid": "u"}}
        self.put("configmaps/kube-system/kubus-scheduler", config)
        self.until(lambda: "Gang" in str(self.bus.call("scheduler", "scheduler.policies", timeout=3)["profiles"]),
                   "the policy is loaded")

    def gang(self, name, n):
        ops = []
        for i in range(n):
            doc = pod(f"{name}-{i}", "1")
            doc["metadata"]["labels"] = {"scheduling.x-k8s.io/pod-group": name,
                                         "pod-group.scheduling.sigs.k8s.io/min-available": str(n)}
            ops.append({"op": "put", "key": f"pods/t/{name}-{i}", "doc": doc})
        self.bus.call("store", "store.txn", {"ops": ops})

    def test_one_whose_scheduler_is_killed_between_its_bindings_is_completed(self):
        rand = random.Random(os.environ.get("KUBUS_TEST_SEED", "1"))
        for i in range(NODES):
            self.put(f"nodes//n{i}", node(f"n{i}", 1000))
        for kill in range(KILLS):
            some = len(self.bound()) + rand.randrange(64)
            self.gang(f"g{kill}", 64)
            self.until(lambda: len(self.bound()) >= some, "it is being bound")
            self.kill("scheduler")
            self.until(lambda: len(self.bound()) == 64 * (kill + 1), "all of it is bound", timeout=90)
        changes = list(self.bus.replay("pods"))
        self.assertEqual(revision_log.order(changes), [])
        self.assertEqual(revision_log.bindings(changes), [])


class SeveralSchedulers(SchedulerProcess):
    def setUp(self):
        many = {f"scheduler-{i}": ["actor", "scheduler", "--name", f"scheduler-{i}", "--share", f"{i}/3"]
                for i in range(3)}
        self.start("schedulers", {"store": ["actor", "store"], **many})

    test_a_pod_is_bound_and_one_that_fits_nowhere_is_told_why = None
    test_killed_at_any_moment_it_goes_on_and_binds_each_pod_once = None

    def gauge(self, name):
        return sum(a["gauges"].get(name, 0) for a in self.actors() if a["name"].startswith("scheduler"))

    def test_each_pod_is_bound_once_and_the_pods_of_a_dead_one_are_not_left(self):
        for i in range(NODES):
            self.put(f"nodes//n{i}", node(f"n{i}", 1000))
        for i in range(3 * PODS):
            self.put(f"pods/t/p{i}", pod(f"p{i}", "1"))
            if i % PODS == PODS - 1:
                self.kill(f"scheduler-{i // PODS % 3}")
        self.until(lambda: len(self.bound()) == 3 * PODS, "all pods are bound", timeout=90)
        changes = list(self.bus.replay("pods"))
        self.assertEqual(revision_log.order(changes), [])
        self.assertEqual(revision_log.bindings(changes), [])

    def test_in_ordinary_times_no_two_do_the_same_work(self):
        for i in range(NODES):
            self.put(f"nodes//n{i}", node(f"n{i}", 1000))
        ops = [{"op": "put", "key": f"pods/t/p{i}", "doc": pod(f"p{i}", "1")} for i in range(PODS)]
        self.bus.call("store", "store.txn", {"ops": ops})
        self.until(lambda: len(self.bound()) == PODS, "all pods are bound")
        self.until(lambda: self.gauge("bound") == PODS, "each has told what it bound")


if __name__ == "__main__":
    unittest.main(verbosity=2)
