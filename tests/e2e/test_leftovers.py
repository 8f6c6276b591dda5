#!/usr/bin/env python3
"""`kubus down` leaves nothing on the machine, whatever was killed before: no process, mount, control group,
network namespace or link of a cluster with two nodes, pods and volumes."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

import cluster
from harness import SKIPPED, deployment

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def links():
    """name → addresses."""
    text = subprocess.run(["ip", "-json", "addr"], check=True, capture_output=True, text=True).stdout
    return {link["ifname"]: [a["local"] for a in link["addr_info"] if "local" in a] for link in json.loads(text)}


def living():
    """process → (state, parent, when it was started); no zombies, which a careless process 1 may leave."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if entry.name.isdigit() and fields[0] != "Z":
            found[int(entry.name)] = (fields[0], int(fields[1]), fields[19])
    return found


class Leftovers(unittest.TestCase):
    def setUp(self):
        self.here = cluster.Cluster("leftovers", "--nodes", "2")
        self.addCleanup(shutil.rmtree, self.here.data, True)
        self.addCleanup(self.here.down)
        self.here.up()

    def run_pods(self):
        volumes = {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}],
                   "container": {"volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "c", "mountPath": "/c"}]}}
        spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                   "labelSelector": {"matchLabels": {"app": "web"}}}]
        self.here.until(lambda: len([n for n in self.here.get("nodes")["items"] if not n["spec"].get("taints")]) == 2,
                        120, "both nodes are ready")
        self.here.kubectl("create", "configmap", "c", "--from-literal=key=value")
        self.here.kubectl("create", "-f", "-", stdin=json.dumps(
            deployment("web", 4, topologySpreadConstraints=spread, **volumes)))
        self.here.kubectl("rollout", "status", "deployment/web", "--timeout=180s")

    def containers(self):
        """The processes in containers, the children of shims: {(process, when it was started)}."""
        shims = set(self.here.processes("kubus-shim"))
        return {(pid, started) for pid, (_, parent, started) in living().items() if parent in shims}

    def groups(self, containers):
        """The control groups right below the root that they are in, of this cluster alone."""
        names = set()
        for pid, _ in containers:
            for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                names |= {part for part in line.split(":", 2)[2].split("/") if part.startswith("kubus-")}
        return names

    def mine(self):
        """Links with addresses of this cluster's pods, and the namespaces of its further nodes."""
        plan = json.loads(pathlib.Path(self.here.data, "cluster.json").read_text())
        prefix = plan["podCIDR"].rsplit(".", 2)[0] + "."
        names = {name for name, addresses in links().items() if any(a.startswith(prefix) for a in addresses)}
        return names, {p.name for p in pathlib.Path("/run/netns").glob(f"kubus-{plan['clusterID']}-*")}

    def left_groups(self, names):
        return [str(p) for name in names for p in [CGROUPS / name, *CGROUPS.glob(f"*/{name}")] if p.exists()]

    def test_nothing_is_left(self):
        self.run_pods()
        containers = self.containers()
        groups, (names, namespaces) = self.groups(containers), self.mine()
        self.assertGreaterEqual(len(containers), 4)
        self.assertTrue(groups)
        self.assertTrue(names)
        self.assertEqual(len(namespaces), 1)
        shims = sorted(self.here.processes("kubus-shim"))
        agents = [a["pid"] for a in self.here.actors() if a["name"].startswith("agent/")]
        for pid in [shims[0], *agents, self.here.kernel_pid()]:
            os.kill(pid, signal.SIGKILL)
        self.here.down()
        self.assertEqual(self.here.processes(""), {})
        self.assertEqual(containers & {(pid, started) for pid, (_, _, started) in living().items()}, set())
        mounts = pathlib.Path("/proc/mounts").read_text()
        self.assertNotIn(self.here.data, mounts)
        self.assertEqual(self.left_groups(groups), [])
        self.assertEqual(names & set(links()), set())
        for namespace in namespaces:
            self.assertFalse(pathlib.Path("/run/netns", namespace).exists(), namespace)
            self.assertNotIn(namespace, mounts)


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which(cluster.KUBECTL) or not shutil.which("ip"):
        print("skipped: containers need root, and the test kubectl and ip")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
