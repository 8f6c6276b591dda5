#!/usr/bin/env python3
"""What breaks is made whole: containers that die, pods that are deleted, agents and nodes that go away."""
import contextlib
import ctypes
import fcntl
import os
import signal
import tempfile
import unittest
import uuid

from harness import Case, deployment, main, pod, until


def processes(token):
    """Ids of the processes on this machine that have `token` on their command line, this one's family not counted."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep" and token.encode() in words:
            found.append(int(name))
    return found


def stay(token):
    """A command whose process can be found by a unique number of seconds."""
    return ["sleep", token]


def new_token():
    return str(10_000_000 + uuid.uuid4().int % 80_000_000)


class Containers(Case):
    def status(self, name):
        statuses = self.get("pod", name)["status"].get("containerStatuses")  # none before its agent has seen it
        return statuses[0] if statuses else {"state": {}, "restartCount": 0, "ready": False}

    def test_a_killed_container_is_restarted_with_backoff(self):
        token = new_token()
        self.apply(pod("p", stay(token)))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        for count in (1, 2):
            until(lambda: len(processes(token)) == 1, 120, "one process")
            os.kill(processes(token)[0], signal.SIGKILL)
            until(lambda: self.status("p")["restartCount"] == count, 90, f"restart {count}")
            ended = self.status("p")["lastState"]["terminated"]
            self.assertEqual((ended["exitCode"], ended["reason"]), (137, "Error"))
        until(lambda: self.status("p")["ready"], 120, "ready again")
        self.assertEqual(len(processes(token)), 1)
        self.assertRegex(self.out("get", "pod", "p"), r"(?m)^p +1/1 +Running +2 \(\d+s ago\) ")

    def test_a_container_that_always_fails_is_held_back(self):
        self.apply(pod("p", ["false"]))
        until(lambda: (self.status("p")["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff", 90,
              "CrashLoopBackOff")
        self.assertRegex(self.out("get", "pod", "p"), r"(?m)^p +0/1 +CrashLoopBackOff +[1-9]")
        until(lambda: "BackOff" in self.out("get", "events", "-o", "jsonpath={.items[*].reason}"), what="its event")

    def test_a_failed_liveness_probe_restarts(self):
        self.apply(pod("p", ["sh", "-c", "touch /tmp/ok; exec sleep 86400"],
                       container={"livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1,
                                                    "failureThreshold": 2}}))
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        self.exec("p", "rm", "/tmp/ok")
        until(lambda: self.status("p")["restartCount"] >= 1, 120, "a restart")
        self.assertIn("Liveness probe failed", self.events("p"))

    def test_readiness_follows_its_probe(self):
        self.apply(pod("p", container={"readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ok"]},
                                                          "periodSeconds": 1}}))
        self.until_path("pod/p", ".status.phase", "Running")
        self.assertRegex(self.out("get", "pod", "p"), r"(?m)^p +0/1 +Running ")
        self.exec("p", "touch", "/tmp/ok")
        self.k("wait", "pod/p", "--for=condition=Ready", "--timeout=120s")
        self.exec("p", "rm", "/tmp/ok")
        self.k("wait", "pod/p", "--for=condition=Ready=false", "--timeout=120s")

    def test_out_of_memory_is_named(self):
        self.apply(pod("p", ["sh", "-c", "x=a; while :; do x=$x$x; done"], restartPolicy="Never",
                       container={"resources": {"limits": {"memory": "24Mi"}}}))
        self.until_path("pod/p", ".status.phase", "Failed")
        self.assertEqual(self.status("p")["state"]["terminated"]["reason"], "OOMKilled")


class Pods(Case):
    def test_a_deleted_pod_is_replaced(self):
        self.apply(deployment("web", 2))
        self.k("rollout", "status", "deployment/web", "--timeout=120s")
        old = {p["metadata"]["uid"]: p["metadata"]["name"] for p in self.get("pods")["items"]}
        victim = next(iter(old.values()))
        self.k("delete", "pod", victim)

        def two_and_one_new():
            pods = [p for p in self.get("pods")["items"] if "deletionTimestamp" not in p["metadata"]]
            return len(pods) == 2 and len({p["metadata"]["uid"] for p in pods} - set(old)) == 1
        until(two_and_one_new, what="a replacement")
        self.k("rollout", "status", "deployment/web", "--timeout=120s")


class Admission(Case):
    """What a node does not take, whoever sent it there."""

    def refused(self, name, reason):
        until(lambda: self.get("pod", name)["status"].get("phase") == "Failed", 60, f"{name} refused")
        status = self.get("pod", name)["status"]
        self.assertEqual(status["reason"], reason)
        self.assertRegex(self.out("get", "pod", name), rf"(?m)^{name} +0/1 +{reason} +0 ")
        until(lambda: reason in self.out("get", "events", "-o", "jsonpath={.items[*].reason}"), what="its event")
        return status

    def test_a_pod_that_is_too_large_fails_and_says_why(self):
        node = self.get("nodes")["items"][0]["metadata"]["name"]
        large = {"container": {"resources": {"requests": {"cpu": "1000"}}}}
        self.apply(pod("large", nodeName=node, **large))
        status = self.refused("large", "OutOfcpu")
        self.assertRegex(status["message"], r"^Pod was rejected: Node didn't have enough resource: cpu, "
                                            r"requested: 1000000, used: \d+, capacity: \d+$")
        self.k("delete", "pod", "large", "--timeout=60s")

    def test_a_host_port_is_given_once_and_again_when_it_is_free(self):
        node = self.get("nodes")["items"][0]["metadata"]["name"]
        port = {"container": {"ports": [{"containerPort": 80, "hostPort": 28080}]}}
        self.apply(pod("first", nodeName=node, **port))
        self.k("wait", "pod/first", "--for=condition=Ready", "--timeout=120s")
        self.apply(pod("second", nodeName=node, **port))
        self.refused("second", "NodePorts")
        self.k("delete", "pod", "first", "second", "--timeout=60s")
        self.apply(pod("third", nodeName=node, **port))
        self.k("wait", "pod/third", "--for=condition=Ready", "--timeout=120s")

    def test_what_runs_is_not_asked_again_when_the_agent_comes_back(self):
        node = self.get("nodes")["items"][0]
        half = {"container": {"resources": {"requests": {"cpu": "600m"}}}}
        self.apply(pod("one", nodeName=node["metadata"]["name"], **half))
        self.k("wait", "pod/one", "--for=condition=Ready", "--timeout=120s")
        os.kill(self.cluster.actors()["agent/" + node["metadata"]["name"]]["pid"], signal.SIGKILL)
        self.apply(pod("two", nodeName=node["metadata"]["name"],
                       container={"resources": {"requests": {"cpu": node["status"]["allocatable"]["cpu"]}}}))
        self.refused("two", "OutOfcpu")
        self.assertEqual(self.get("pod", "one")["status"]["phase"], "Running")


@contextlib.contextmanager
def folder_that_hangs():
    """A folder in which every name that is looked up waits for a daemon that does not answer, as on a file system
    behind a dead network: an automounter's, without the automounter."""
    libc, catatonic = ctypes.CDLL(None, use_errno=True), 0x9362
    folder = tempfile.mkdtemp(prefix="kubus-hangs-")
    reader, writer = os.pipe()
    options = f"fd={writer},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect"
    if libc.mount(b"kubus-test", folder.encode(), b"autofs", 0, options.encode()) != 0:
        os.rmdir(folder)
        raise unittest.SkipTest("no autofs on this machine")
    root = os.open(folder, os.O_RDONLY)
    try:
        yield folder
    finally:
        fcntl.ioctl(root, catatonic)  # whoever waits still is let go
        for fd in (root, reader, writer):
            os.close(fd)
        libc.umount2(folder.encode(), 2)
        os.rmdir(folder)


class Hangs(Case):
    def test_a_path_that_hangs_holds_its_pod_alone(self):
        node = self.get("nodes")["items"][0]["metadata"]["name"]
        with folder_that_hangs() as folder:
            self.apply(pod("deep", nodeName=node, volumes=[{"name": "v", "hostPath": {"path": folder}}],
                           container={"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "data"}]}))
            self.k("wait", "pod/deep", "--for=condition=PodReadyToStartContainers", "--timeout=120s")
            self.apply(pod("stuck", nodeName=node, volumes=[{"name": "v", "hostPath": {"path": f"{folder}/data"}}],
                           container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
            until(lambda: self.get("pod", "stuck")["status"].get("startTime"), 60, "the node has begun with it")
            self.apply(pod("free", nodeName=node, volumes=[{"name": "v", "emptyDir": {}}],
                           container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
            self.k("wait", "pod/free", "--for=condition=Ready", "--timeout=120s")
            self.assertEqual(self.out("exec", "free", "--", "echo", "here"), "here\n")
            self.assertEqual(self.get("pod", "stuck")["status"]["phase"], "Pending")
            self.assertEqual(self.get("pod", "deep")["status"]["phase"], "Pending")
            self.k("delete", "pod", "stuck", "--timeout=60s")
        self.k("delete", "pod", "free", "deep", "--timeout=60s")


class Evictions(Case):
    def test_a_drain_waits_for_the_budget(self):
        self.apply(deployment("kept", 2), {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "kept"}}}})
        self.k("rollout", "status", "deployment/kept", "--timeout=120s")
        self.until_path("pdb/kept", ".status.currentHealthy", 2)
        self.assertEqual(self.path("pdb/kept", ".status.disruptionsAllowed"), "0")
        old = {p["metadata"]["name"]: p["spec"]["nodeName"] for p in self.get("pods")["items"]}
        node = next(iter(old.values()))
        leaving = {name for name, at in old.items() if at == node}
        try:
            with self.c.stream("drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data",
                               "--pod-selector=app=kept", "--timeout=300s") as drain:
                drain.expect("would violate the pod's disruption budget")
                self.assertEqual(self.healthy(), set(old))
                self.k("patch", "pdb", "kept", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
                drain.expect(f"{node} drained", timeout=300)
                self.assertEqual(drain.wait_end(), 0)
            self.assertFalse(leaving & {p["metadata"]["name"] for p in self.get("pods")["items"]})
        finally:
            self.c.kubectl("uncordon", node)
        until(lambda: len(self.healthy()) == 2, what="two pods again")
        self.until_path("pdb/kept", ".status.disruptionsAllowed", 1)

    def healthy(self):
        return {p["metadata"]["name"] for p in self.get("pods")["items"]
                if "deletionTimestamp" not in p["metadata"]
                and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))}


class Agents(Case):
    def test_an_agent_that_is_killed_loses_nothing(self):
        token = new_token()
        self.apply(pod("p", stay(token)),
                   pod("ends", ["sh", "-c", "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 9"],
                       restartPolicy="Never"))
        self.k("wait", "pod/p", "pod/ends", "--for=condition=Ready", "--timeout=120s")
        process = processes(token)
        container = self.path("pod/p", ".status.containerStatuses[0].containerID")
        for name, actor in self.c.actors().items():
            if name.startswith("agent/"):
                os.kill(actor["pid"], signal.SIGKILL)
        self.until_path("pod/ends", ".status.phase", "Failed")
        ended = self.get("pod", "ends")["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual(ended["exitCode"], 9)
        self.assertEqual(self.out("logs", "ends").split(), [str(i) for i in range(60)])
        self.assertEqual(processes(token), process)
        self.assertEqual(self.path("pod/p", ".status.containerStatuses[0].containerID"), container)
        self.assertEqual(self.path("pod/p", ".status.containerStatuses[0].restartCount"), "0")

    def test_every_actor_may_be_killed(self):
        self.apply(deployment("web", 2))
        self.k("rollout", "status", "deployment/web", "--timeout=120s")
        uids = sorted(p["metadata"]["uid"] for p in self.get("pods")["items"])
        for name, actor in self.c.actors().items():
            os.kill(actor["pid"], signal.SIGKILL)

            def back():
                now = self.c.actors().get(name, {})
                return now.get("state") == "ready" and now["pid"] != actor["pid"]
            until(back, 60, f"{name} ready again")
        self.k("annotate", "deployment", "web", "after=all")
        self.k("scale", "deployment", "web", "--replicas=3")
        self.k("rollout", "status", "deployment/web", "--timeout=120s")
        now = sorted(p["metadata"]["uid"] for p in self.get("pods")["items"])
        self.assertTrue(set(uids) <= set(now), "pods were replaced")
        self.assertEqual(len(now), 3)

    def test_pods_of_a_silent_node_move(self):
        try:
            self.until_node("node-2", "True")
            soon = [{"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute",
                     "tolerationSeconds": 1} for k in ("not-ready", "unreachable")]
            spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                       "labelSelector": {"matchLabels": {"app": "web"}}}]
            self.apply(deployment("web", 4, tolerations=soon, topologySpreadConstraints=spread))
            self.k("rollout", "status", "deployment/web", "--timeout=120s")
            self.assertEqual(self.nodes(), {"node-1", "node-2"})
            self.c.kubus("actors", "stop", "agent/node-2", "--data", self.c.data)
            self.until_node("node-2", "Unknown", 120)
            until(lambda: self.nodes() == {"node-1"} and self.path("deployment/web", ".status.readyReplicas") == "4",
                  120, "all pods on the other node")
        finally:
            self.c.kubus("actors", "start", "agent/node-2", "--data", self.c.data)
        self.until_node("node-2", "True")
        until(lambda: len(self.get("pods")["items"]) == 4, 120, "the old pods to be gone")

    def until_node(self, name, status, timeout=60):
        until(lambda: any(c["type"] == "Ready" and c["status"] == status
                          for c in self.c.get("node", name)["status"]["conditions"]), timeout, f"{name} Ready={status}")

    def nodes(self):
        return {p["spec"].get("nodeName") for p in self.get("pods", "-l", "app=web")["items"]
                if "deletionTimestamp" not in p["metadata"]}


if __name__ == "__main__":
    main("heal", "--nodes", "2")
