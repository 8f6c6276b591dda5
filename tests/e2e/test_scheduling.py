"""Where pods go, as a user sees it: hollow nodes, kubectl, and the words of Kubernetes."""
import json
import pathlib
import subprocess
import tempfile
import unittest

from cluster import KUBUS, Cluster


def pod(name, **spec):
    container = {"name": "main", "image": "busybox:latest", **spec.pop("container", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [container], **spec}}


class Story(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("scheduling", "--nodes", "0", "--hollow-nodes", "3",
                              *cls.options).__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.nodes = cls.cluster.until(cls.ready_nodes, 120, "three nodes are ready")

    @classmethod
    def ready_nodes(cls):
        items = cls.cluster.get("nodes")["items"]
        ready = [n["metadata"]["name"] for n in items
                 if not n["spec"].get("taints")
                 and any(c["type"] == "Ready" and c["status"] == "True"
                         for c in n.get("status", {}).get("conditions", []))]
        return sorted(ready) if len(ready) == 3 else None

    def create(self, document):
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(document))
        self.addCleanup(self.cluster.kubectl, "delete", "pod", document["metadata"]["name"],
                        "--now", check=False)

    def node_of(self, name):
        return self.cluster.until(lambda: self.cluster.get("pod", name)["spec"].get("nodeName"),
                                  60, f"{name} has a node")

    def why(self, name):
        """What it was told last, in all of its history: it may have got its place meanwhile."""
        def told():
            changes = [c for c in self.cluster.bus.replay("pods") if c["key"] == f"pods/default/{name}"]
            said = [condition["message"] for c in changes for condition in c["doc"]["status"].get("conditions", [])
                    if condition["type"] == "PodScheduled" and condition["status"] == "False"]
            return said[-1] if said else None
        return self.cluster.until(told, 60, f"{name} is told why")

    def events_of(self, name, reason):
        def found():
            return [e for e in self.cluster.get("events")["items"]
                    if e["involvedObject"]["name"] == name and e["reason"] == reason]
        return self.cluster.until(found, 60, f"{name} has an event {reason}")

    def condition(self, name, kind):
        conditions = self.cluster.get("pod", name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), None)


class Scheduling(Story):
    def test_pods_spread_over_the_nodes(self):
        for i in range(3):
            self.create(pod(f"spread-{i}", container={
                "resources": {"requests": {"cpu": "500m", "memory": "500Mi"}}}))
        self.assertEqual(sorted(self.node_of(f"spread-{i}") for i in range(3)), self.nodes)

    def test_a_selector_chooses_and_a_label_added_later_helps(self):
        self.create(pod("picky", nodeSelector={"disk": "ssd"}))
        self.assertEqual(self.why("picky"),
                         "0/3 nodes are available: 3 node(s) didn't match Pod's node "
                         "affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is "
                         "not helpful for scheduling.")
        self.cluster.kubectl("label", "node", self.nodes[1], "disk=ssd")
        self.addCleanup(self.cluster.kubectl, "label", "node", self.nodes[1], "disk-")
        self.assertEqual(self.node_of("picky"), self.nodes[1])
        events = self.cluster.until(
            lambda: [e for e in self.cluster.get("events")["items"]
                     if e["involvedObject"]["name"] == "picky" and e["reason"] == "Scheduled"],
            60, "the event is there")
        self.assertEqual(events[0]["message"],
                         f"Successfully assigned default/picky to {self.nodes[1]}")

    def test_cordoned_and_tainted_nodes_are_left_alone(self):
        self.cluster.kubectl("cordon", self.nodes[0])
        self.addCleanup(self.cluster.kubectl, "uncordon", self.nodes[0])
        self.cluster.kubectl("taint", "node", self.nodes[1], "team=a:NoSchedule")
        self.addCleanup(self.cluster.kubectl, "taint", "node", self.nodes[1], "team-")
        self.create(pod("plain"))
        self.assertEqual(self.node_of("plain"), self.nodes[2])
        self.create(pod("huge", container={"resources": {"requests": {"cpu": "100000"}}}))
        self.assertEqual(self.why("huge"),
                         "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated "
                         "taint {team: a}, 1 node(s) were unschedulable. preemption: 0/3 nodes are "
                         "available: 3 Preemption is not helpful for scheduling.")

    def test_a_host_port_is_given_once_a_node(self):
        for i in range(4):
            self.create(pod(f"port-{i}", container={
                "ports": [{"containerPort": 80, "hostPort": 8080}]}))
        placed = lambda: [i for i in range(4) if
                          self.cluster.get("pod", f"port-{i}")["spec"].get("nodeName")]
        self.cluster.until(lambda: len(placed()) == 3, 60, "three have the port")
        left = next(i for i in range(4) if i not in placed())
        self.assertIn("3 node(s) didn't have free ports for the requested pod ports",
                      self.why(f"port-{left}"))

    def priority_class(self, name, value, **more):
        document = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                    "metadata": {"name": name}, "value": value, **more}
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(document))
        self.addCleanup(self.cluster.kubectl, "delete", "priorityclass", name, check=False)

    def test_an_important_pod_takes_the_place_of_another(self):
        self.priority_class("urgent", 1000)
        self.priority_class("patient", 1000, preemptionPolicy="Never")
        for node in self.nodes[1:]:
            self.cluster.kubectl("cordon", node)
            self.addCleanup(self.cluster.kubectl, "uncordon", node)
        cpu = self.cluster.get("node", self.nodes[0])["status"]["allocatable"]["cpu"]
        most = {"resources": {"requests": {"cpu": f"{int(cpu) * 700}m"}}}
        victim = pod("victim", container=most)
        victim["metadata"]["finalizers"] = ["example.com/slow"]  # it takes its time to go
        self.create(victim)
        release = ("patch", "pod", "victim", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.addCleanup(self.cluster.kubectl, *release, check=False)
        self.assertEqual(self.node_of("victim"), self.nodes[0])
        self.create(pod("patient", priorityClassName="patient", container=most))
        unfit = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
        self.assertEqual(self.why("patient"),
                         unfit + " preemption: not eligible due to preemptionPolicy=Never.")
        self.create(pod("urgent", priorityClassName="urgent", container=most))
        nominated = self.cluster.until(
            lambda: self.cluster.get("pod", "urgent")["status"].get("nominatedNodeName"),
            60, "it is nominated")
        self.assertEqual(nominated, self.nodes[0])
        self.assertEqual(self.why("urgent"), unfit)
        condition = self.cluster.until(lambda: self.condition("victim", "DisruptionTarget"), 60,
                                       "the victim is told")
        self.assertEqual((condition["status"], condition["reason"], condition["message"]),
                         ("True", "PreemptionByScheduler", "default-scheduler: preempting to "
                          "accommodate a higher priority pod"))
        uid = self.cluster.get("pod", "urgent")["metadata"]["uid"]
        event = self.events_of("victim", "Preempted")[0]
        self.assertEqual((event["type"], event["message"]),
                         ("Normal", f"Preempted by pod {uid} on node {self.nodes[0]}"))
        self.cluster.until(
            lambda: "deletionTimestamp" in self.cluster.get("pod", "victim")["metadata"], 60,
            "the victim is on its way out")
        self.cluster.kubectl(*release)
        self.assertEqual(self.node_of("urgent"), self.nodes[0])

    def test_a_gated_pod_waits_for_its_gate(self):
        self.create(pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
        self.create(pod("after"))
        self.node_of("after")
        condition = self.condition("gated", "PodScheduled")
        self.assertEqual((condition["status"], condition["reason"], condition["message"]),
                         ("False", "SchedulingGated",
                          "Scheduling is blocked due to non-empty scheduling gates"))
        self.assertNotIn("nodeName", self.cluster.get("pod", "gated")["spec"])
        self.cluster.kubectl("patch", "pod", "gated", "--type=json", "-p",
                             '[{"op": "remove", "path": "/spec/schedulingGates"}]')
        self.node_of("gated")


GANG = """apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- plugins:
    queueSort:
      enabled: [{name: Gang}]
      disabled: [{name: PrioritySort}]
    multiPoint:
      enabled: [{name: Gang}]
  pluginConfig:
  - name: Gang
    args: {permitWaitingTimeSeconds: 30}
"""


class Gangs(Story):
    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory(prefix="kubus-gang-")
        cls.addClassCleanup(work.cleanup)
        config = pathlib.Path(work.name, "config.yaml")
        config.write_text(GANG)
        cls.options = ("--scheduler-config", str(config))
        super().setUpClass()
        cpu = cls.cluster.get("node", cls.nodes[0])["status"]["allocatable"]["cpu"]
        cls.most = {"resources": {"requests": {"cpu": f"{int(cpu) * 700}m"}}}

    def member(self, gang, i, of, **spec):
        document = pod(f"{gang}-{i}", **spec)
        document["metadata"]["labels"] = {
            "scheduling.x-k8s.io/pod-group": gang,
            "pod-group.scheduling.sigs.k8s.io/min-available": str(of)}
        self.create(document)

    def bound(self, gang):
        items = self.cluster.get("pods", "-l", f"scheduling.x-k8s.io/pod-group={gang}")["items"]
        return sum("nodeName" in p["spec"] for p in items)

    def test_a_gang_waits_for_its_last_member_and_is_bound_whole(self):
        self.member("team", 0, 3)
        self.member("team", 1, 3)
        self.create(pod("single"))
        self.node_of("single")
        self.assertEqual(self.bound("team"), 0)
        self.member("team", 2, 3)
        self.cluster.until(lambda: self.bound("team") == 3, 60, "all of them have a node")

    def test_a_gang_that_does_not_fit_holds_nothing(self):
        for i in range(4):  # one each on three nodes, and one too many
            self.member("large", i, 4, container=self.most)
        self.cluster.until(
            lambda: any("Insufficient cpu" in (self.condition(f"large-{i}", "PodScheduled") or {})
                        .get("message", "") for i in range(4)), 60, "it is told why")
        for i in range(3):
            self.create(pod(f"other-{i}", container=self.most))
        for i in range(3):
            self.node_of(f"other-{i}")
        self.assertEqual(self.bound("large"), 0)


class Record(unittest.TestCase):
    """A live cluster writes down what its scheduler is told and decides; the simulator decides the same."""

    def running(self, cluster, n):
        items = cluster.get("pods", "-l", "app=web")["items"]
        return len(items) == n and all(p["spec"].get("nodeName") for p in items)

    def test_what_was_decided_live_is_decided_again(self):
        with tempfile.TemporaryDirectory(prefix="kubus-record-") as folder:
            record = pathlib.Path(folder, "record.jsonl")
            with Cluster("record", "--nodes", "0", "--hollow-nodes", "5", "--record", str(record)) as cluster:
                cluster.kubectl("create", "deployment", "web", "--image=busybox:latest", "--replicas=60")
                cluster.until(lambda: self.running(cluster, 60), 120, "all have a node")
                cluster.kubectl("scale", "deployment", "web", "--replicas=10")
                cluster.until(lambda: self.running(cluster, 10), 120, "most are gone")
                cluster.kubectl("scale", "deployment", "web", "--replicas=40")
                cluster.until(lambda: self.running(cluster, 40), 120, "some came again")
            done = subprocess.run([KUBUS, "sim", "replay", record], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r" [0-9]{2,} bindings, 0 differences\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
