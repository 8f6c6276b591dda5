"""The node agent as a process, with a hollow node: a kernel, a store, an api and the agent. What one process of it
has sent, and what was sent before a write of unknown outcome, is not carried out behind what came later."""
import pathlib
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib")]

from kubus_bus import CallError  # noqa: E402
from ports import free_port  # noqa: E402
from processes import ProcessTest  # noqa: E402

AGENT, NODE = "agent/hollow", "hollow-0"  # the lease is called as the agent


class Agent(ProcessTest):
    def setUp(self):
        self.start("agent", {
            "store": ["actor", "store"],
            "api": ["actor", "api", "--listen", f"127.0.0.1:{free_port()}"],
            AGENT: ["actor", "agent", "--node", "hollow", "--runtime", "hollow",
                    "--hollow-nodes", "1"]})
        self.make("p")
        self.until(lambda: self.pod()["status"].get("phase") == "Running", "the pod runs")

    def make(self, name, **spec):
        self.until(lambda: self.object_call("object.create", "pods", "default", doc={
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "x"}], **spec}}), "the pod is made")

    def pod(self, name="p"):
        return self.bus.call("store", "store.get", {"key": f"pods/default/{name}"}, timeout=3)["doc"]

    def begun(self, name):
        self.until(lambda: self.pod(name)["status"].get("phase", "Pending") != "Pending", "the node has said yes or no")
        return self.pod(name)["status"]

    def acquire(self):
        """An epoch, as the agent would acquire it: its own is the past from now on."""
        return self.bus.call("store", "lease.acquire", {"name": AGENT, "holder": AGENT, "ttl_ms": 3600000})["epoch"]

    def passed(self, epoch):
        try:
            self.bus.call("store", "lease.renew",
                          {"name": AGENT, "holder": AGENT, "epoch": epoch, "ttl_ms": 3600000})
        except CallError as error:
            return error.reason == "Conflict"
        return False

    def late(self, epoch):
        """A status that a process with this epoch had sent arrives now."""
        return self.object_call("object.patch", "pods", "default", name="p", subresource="status", type="merge",
                         patch={"status": {"phase": "Pending"}}, lease={"name": AGENT, "epoch": epoch})

    def refused_as_late(self, epoch):
        try:
            self.late(epoch)
        except CallError as error:
            return error.body.get("fenced", False)
        return False

    def delete(self):
        """Ask for the pod's end: its agent has something to write."""
        self.until(lambda: self.object_call("object.delete", "pods", "default", name="p"), "it is asked for")

    def gone(self):
        try:
            self.pod()
        except CallError as error:
            return error.reason == "NotFound"
        return False

    def test_a_status_of_the_process_before_is_refused(self):
        epoch = self.acquire()
        self.kill(AGENT)
        self.until(lambda: self.passed(epoch), "its successor has an epoch of its own")
        self.assertTrue(self.refused_as_late(epoch))
        self.assertEqual(self.pod()["status"]["phase"], "Running")

    def test_an_agent_whose_epoch_has_passed_gets_a_new_one_and_goes_on(self):
        epoch = self.acquire()
        for name in ("q", "r"):
            self.make(name)
        self.until(lambda: all(p["doc"]["status"].get("phase") == "Running" for p in self.bus.call(
            "store", "store.list", {"view": "pods"})["items"]), "the pods run")
        self.assertTrue(self.refused_as_late(epoch))
        self.delete()
        self.until(self.gone, "the pod is gone")

    def test_a_node_that_a_pod_does_not_mean_refuses_it(self):
        self.make("meant", nodeSelector={"kubernetes.io/os": "linux"})
        self.assertEqual(self.begun("meant")["phase"], "Running")
        self.make("lost", nodeSelector={"kubernetes.io/os": "plan9"})
        status = self.begun("lost")
        self.assertEqual((status["phase"], status["reason"]), ("Failed", "NodeAffinity"))
        self.assertEqual(status["message"], "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match "
                                            "Pod's node affinity/selector")

    def test_a_taint_that_evicts_refuses_who_does_not_tolerate_it(self):
        self.until(lambda: self.object_call("object.patch", "nodes", "", name=NODE, type="merge", patch={
            "spec": {"taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]}}), "the taint is there")
        asked = []

        def refused():
            asked.append(f"q{len(asked)}")
            self.make(asked[-1])
            return self.begun(asked[-1])["phase"] == "Failed"
        self.until(refused, "the agent has seen the taint")
        self.assertEqual(self.pod(asked[-1])["status"]["reason"], "TaintToleration")
        self.make("patient", tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute",
                                           "tolerationSeconds": 9}])
        self.assertEqual(self.begun("patient")["phase"], "Running")
        epoch = self.acquire()
        self.kill(AGENT)
        self.until(lambda: self.passed(epoch), "its successor has an epoch of its own")
        self.make("late")
        self.assertEqual(self.begun("late")["reason"], "TaintToleration")
        self.assertEqual(self.pod()["status"]["phase"], "Running", "what runs is not asked again")


if __name__ == "__main__":
    unittest.main(verbosity=2)
