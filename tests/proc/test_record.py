"""Record and replay: a scheduler writes down what it is told and decides while pods and nodes come, go and change and
it is killed in the middle; `kubus sim replay`, in a process of its own, decides the same from the record."""
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib")]

from processes import KUBUS, ProcessTest  # noqa: E402

NODES, PODS = 12, 200


def node(name, cpus, gpus):
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"alibabacloud.com/gpu-card-model": "T4"}},
            "status": {"allocatable": {"cpu": str(cpus), "memory": "64Gi", "pods": "110",
                                       "alibabacloud.com/gpu-count": str(gpus)}}}


def pod(name, cpu, milli):
    asks = {"alibabacloud.com/gpu-count": "1", "alibabacloud.com/gpu-milli": str(milli)} if milli else {}
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "t", "uid": f"uid-{name}", "annotations": asks},
            "spec": {"containers": [container], "schedulerName": "default-scheduler"},
            "status": {"phase": "Pending"}}


class Record(ProcessTest):
    def setUp(self):
        self.file = pathlib.Path(self.folder(), "record.jsonl")
        self.start("record", {"store": ["actor", "store"],
                              "scheduler": ["actor", "scheduler", "--record", str(self.file)]})
        self.dice = random.Random(5)

    def folder(self):
        path = tempfile.mkdtemp(prefix="kubus-record-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def write(self, op, key, doc=None):
        entry = {"op": op, "key": key}
        if doc:
            entry["doc"] = doc
        return self.bus.call("store", "store.txn", {"ops": [entry]})

    def waiting(self):
        items = self.bus.call("store", "store.list", {"view": "pods"})["items"]
        return [p for p in items if not p["doc"]["spec"].get("nodeName")]

    def add_pods(self, first, count):
        for i in range(first, first + count):
            self.write("put", f"pods/t/p{i}", pod(f"p{i}", f"{self.dice.randint(1, 8) * 100}m",
                                                  self.dice.choice((0, 0, 100, 250, 500))))

    def check_gpus(self):
        """Who asked for a share of a GPU has one, and no GPU is given away twice."""
        items = self.bus.call("store", "store.list", {"view": "pods"})["items"]
        used = {}
        for entry in items:
            notes = entry["doc"]["metadata"]["annotations"]
            milli = int(notes.get("alibabacloud.com/gpu-milli", 0))
            self.assertEqual("alibabacloud.com/gpu-index" in notes, milli > 0)
            if milli:
                place = entry["doc"]["spec"]["nodeName"], notes["alibabacloud.com/gpu-index"]
                used[place] = used.get(place, 0) + milli
        self.assertGreater(len(used), 1)
        self.assertLessEqual(max(used.values()), 1000)

    def replay(self):
        done = subprocess.run([KUBUS, "sim", "replay", self.file], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        numbers = re.search(r"(\d+) inputs, (\d+) decisions, (\d+) bindings, (\d+) differences", done.stdout)
        return [int(n) for n in numbers.groups()]

    def test_a_live_record_is_decided_the_same_in_the_simulator(self):
        for i in range(NODES // 2):
            self.write("put", f"nodes//n{i}", node(f"n{i}", 8, i % 5))
        self.add_pods(0, PODS // 2)
        self.until(lambda: len(self.waiting()) < PODS // 2, "some are bound")
        self.kill("scheduler")
        for i in range(0, 30, 3):
            self.write("del", f"pods/t/p{i}")
        for i in range(NODES // 2, NODES):
            self.write("put", f"nodes//n{i}", node(f"n{i}", 16, 8))
        self.add_pods(PODS // 2, PODS // 2)
        self.until(self.all_ready, "the scheduler is back")
        self.until(lambda: not self.waiting(), "all are bound")
        self.check_gpus()
        self.kernel.terminate()
        self.kernel.wait(30)
        inputs, decisions, bindings, differences = self.replay()
        self.assertEqual(differences, 0)
        self.assertGreaterEqual(bindings, PODS - 10)
        self.assertGreater(inputs, decisions)


if __name__ == "__main__":
    unittest.main()
