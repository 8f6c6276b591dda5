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
        self.second = self.file.with_suffix(".2")
        self.dice = random.Random(5)

    def begin(self, schedulers=1):
        actors = {"store": ["actor", "store"]}
        for i, file in enumerate((self.file, self.second)[:schedulers]):
            name = "scheduler-2" if i else "scheduler"
            actors[name] = ["actor", "scheduler", "--name", name, "--share", f"{i}/{schedulers}", "--record", str(file)]
        self.start("record", actors)

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

    def replay(self, file):
        done = subprocess.run([KUBUS, "sim", "replay", file], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        numbers = re.search(r"(\d+) inputs, (\d+) decisions, (\d+) bindings, (\d+) differences", done.stdout)
        return [int(n) for n in numbers.groups()]

    def end(self):
        self.kernel.terminate()
        self.kernel.wait(30)

    def configure(self, plugins):
        config = ("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
                  f"profiles: [{{plugins: {plugins}}}]\n")
        self.write("put", "configmaps/kube-system/kubus-scheduler",
                   {"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yaml": config},
                    "metadata": {"name": "kubus-scheduler", "namespace": "kube-system", "uid": "uid-config"}})

    def test_a_policy_of_the_literature_live_and_replayed(self):
        self.begin()
        self.configure("{multiPoint: {enabled: [{name: FGD, weight: 5}]}}")
        for i in range(6):
            self.write("put", f"nodes//n{i}", node(f"n{i}", 32, 8))
        self.until(lambda: '"policy":"FGD"' in self.file.read_text(), "the configuration is at work")
        self.add_pods(0, 120)
        self.until(lambda: not self.waiting(), "all are bound")
        self.check_gpus()
        self.end()
        _, _, bindings, differences = self.replay(self.file)
        self.assertEqual(differences, 0)
        self.assertGreaterEqual(bindings, 120)

    def test_two_schedulers_write_a_record_each(self):
        self.begin(schedulers=2)
        for i in range(NODES):
            self.write("put", f"nodes//n{i}", node(f"n{i}", 16, 8))
        self.add_pods(0, PODS)
        self.until(lambda: not self.waiting(), "all are bound")
        self.end()
        first, second = self.replay(self.file), self.replay(self.second)
        self.assertEqual(first[3] + second[3], 0)
        self.assertGreater(min(first[2], second[2]), 0)

    def test_answers_of_a_service_are_part_of_a_record(self):
        self.begin()
        self.configure("{multiPoint: {enabled: [{name: Remote}]}}, pluginConfig: [{name: Remote, args: {service: judge}}]")
        judge = subprocess.Popen([sys.executable, TOP / "plugins/examples/python/judge.py", self.data])
        self.addCleanup(judge.wait)
        self.addCleanup(judge.kill)
        for i in range(4):
            self.write("put", f"nodes//n{i}", node(f"n{i}", 16, 8))
        self.until(lambda: '"policy":"Remote"' in self.file.read_text(), "the configuration is at work")
        self.add_pods(0, 20)
        self.until(lambda: not self.waiting(), "all are bound")
        self.end()
        self.assertIn('"op":"answer"', self.file.read_text())
        _, _, bindings, differences = self.replay(self.file)
        self.assertEqual(differences, 0)
        self.assertGreaterEqual(bindings, 20)

    def test_a_live_record_is_decided_the_same_in_the_simulator(self):
        self.begin()
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
        self.end()
        inputs, decisions, bindings, differences = self.replay(self.file)
        self.assertEqual(differences, 0)
        self.assertGreaterEqual(bindings, PODS - 10)
        self.assertGreater(inputs, decisions)


if __name__ == "__main__":
    unittest.main()
