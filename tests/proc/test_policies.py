"""Policies loaded, configured, upgraded and unloaded while pods come in: none is lost, bound twice, or
placed where a filter at work forbids. Policies that crash, loop, leave or talk nonsense are held, and the
profile goes on. A kernel, a store and a scheduler, nothing else."""
import os
import pathlib
import shutil
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(TOP / "tests" / "e2e")]

import revision_log  # noqa: E402
from kubus_bus import CallError  # noqa: E402
from processes import ProcessTest  # noqa: E402

FILES = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "tests" / "policies"
WANTED, STATUS = (f"configmaps/kube-system/kubus-scheduler{s}" for s in ("", "-status"))
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def node(name):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "2000"}}}


def pod(name, cpu="10m"):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "t", "uid": f"uid-{name}"},
            "spec": {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}],
                     "schedulerName": "default-scheduler"},
            "status": {"phase": "Pending"}}


def profile(*policies, more=""):
    enabled = ", ".join(f"{{name: {p}}}" for p in policies)
    return f"{HEAD}profiles: [{{plugins: {{multiPoint: {{enabled: [{enabled}]}}}}}}]\n{more}"


class Policies(ProcessTest):
    def setUp(self):
        self.pods_made = 0
        self.start("policies", {name: ["actor", name] for name in ("store", "scheduler")})
        for i in range(4):
            self.put(f"nodes//n{i}", node(f"n{i}"))

    def put(self, key, doc):
        return self.bus.call("store", "store.txn", {"ops": [{"op": "put", "key": key, "doc": doc}]})["rev"]

    def get(self, key):
        try:
            return self.bus.call("store", "store.get", {"key": key})
        except CallError:
            return {"doc": {}, "rev": 0}

    def add_pods(self, n):
        ops = [{"op": "put", "key": f"pods/t/p{i}", "doc": pod(f"p{i}")}
               for i in range(self.pods_made, self.pods_made + n)]
        self.pods_made += n
        self.bus.call("store", "store.txn", {"ops": ops})

    def keep(self, name):
        """A file goes to the scheduler's own folder; its version."""
        for _ in range(3):
            try:
                return self.bus.call("scheduler", "scheduler.keep",
                                     {"file": str(FILES / f"{name}.so")})["version"]
            except TimeoutError:
                continue
        raise TimeoutError("scheduler.keep")

    def configure(self, config, **policies):
        """What shall be; the revision of that write."""
        data = {"config.yaml": config, "policies": "".join(f"{k}: '{v}'\n" for k, v in policies.items())}
        return self.put(WANTED, {"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                                 "metadata": {"name": "kubus-scheduler", "namespace": "kube-system",
                                              "uid": "u"}})

    def status(self):
        return self.get(STATUS)["doc"].get("data", {})

    def at_work(self, config, **policies):
        """Configure, and wait until it is at work under load; both revisions."""
        rev = self.configure(config, **policies)
        texts = "".join(f"{k}: '{v}'\n" for k, v in policies.items())

        def done():
            self.add_pods(20)
            now = self.get(STATUS)
            data = now["doc"].get("data", {})
            return (now["rev"] > rev and data.get("config.yaml", "") == config
                    and data.get("policies", "") == texts)
        self.until(done, "the configuration is at work")
        return rev, self.get(STATUS)["rev"]

    def all_bound(self):
        pods = self.bus.call("store", "store.list", {"view": "pods"})["items"]
        return sum(1 for p in pods if p["doc"]["spec"].get("nodeName")) == self.pods_made

    def placed(self, after, until):
        """Nodes of the pods that were bound between two revisions."""
        known, nodes = set(), []
        for change in self.bus.replay("pods"):
            where = change["doc"]["spec"].get("nodeName")
            if where and change["key"] not in known:
                known.add(change["key"])
                if after < change["rev"] < until:
                    nodes.append(where)
        return nodes

    def check_bindings(self):
        self.until(self.all_bound, "all pods are bound", timeout=90)
        changes = list(self.bus.replay("pods"))
        self.assertEqual(revision_log.order(changes), [])
        self.assertEqual(revision_log.bindings(changes), [])

    def test_a_policy_is_loaded_upgraded_and_unloaded_under_load(self):
        one, two = self.keep("keep_off_1"), self.keep("keep_off_2")
        self.assertNotEqual(one, two)
        _, first = self.at_work(profile("KeepOff"), KeepOff=one)
        self.add_pods(200)
        asked, second = self.at_work(profile("KeepOff"), KeepOff=two)
        self.add_pods(200)
        self.until(self.all_bound, "all pods are bound", timeout=90)
        end, _ = self.at_work(HEAD)
        self.check_bindings()
        self.assertNotIn("n1", self.placed(first, asked))
        self.assertNotIn("n2", self.placed(second, end))
        self.assertIn("n1", self.placed(second, end))
        self.assertEqual(self.state("scheduler")["restarts"], 0)

    def test_killed_it_comes_back_with_the_policy_that_was_loaded(self):
        version = self.keep("keep_off_1")
        _, begin = self.at_work(profile("KeepOff"), KeepOff=version)
        self.kill("scheduler")
        self.add_pods(100)
        self.check_bindings()
        self.assertNotIn("n1", self.placed(begin, 1 << 62))
        self.assertEqual([k for k in self.status() if k.startswith("held.")], [])

    def test_a_bad_configuration_is_refused_and_the_old_one_goes_on(self):
        version = self.keep("keep_off_1")
        _, begin = self.at_work(profile("KeepOff"), KeepOff=version)
        for bad in (profile("Nobody"), profile("KeepOff", more="unknown: 1\n"), "{"):
            self.configure(bad, KeepOff=version)
            self.until(lambda: self.status().get("message"), "it says why")
            self.assertEqual(self.status()["config.yaml"], profile("KeepOff"))
            self.kill("scheduler")
            self.add_pods(50)
            self.until(self.all_bound, "all pods are bound")
            self.configure(profile("KeepOff"), KeepOff=version)
            self.until(lambda: "message" not in self.status(), "all is well again")
        self.configure(profile("KeepOff"), KeepOff="0123456789abcdef")
        self.until(lambda: "0123456789abcdef" in self.status().get("message", ""), "no such file")
        self.check_bindings()
        self.assertNotIn("n1", self.placed(begin, 1 << 62))

    def check_held(self, way, why):
        bad, good = self.keep(f"bad_{way}"), self.keep("bad_GOOD")
        self.configure(profile("Bad"), Bad=bad)
        for _ in range(10):
            self.add_pods(10)
        self.until(lambda: "held.Bad" in self.status(), "it is held")
        self.assertEqual(self.status()["held.Bad"], f"{bad} {why}")
        self.check_bindings()
        policies = self.bus.call("scheduler", "scheduler.policies")["profiles"][0]["policies"]
        self.assertEqual([p.get("held") for p in policies if p["name"] == "Bad"], [why])
        self.kill("scheduler")
        self.add_pods(50)
        self.check_bindings()
        restarts = self.state("scheduler")["restarts"]
        self.at_work(profile("Bad"), Bad=good)
        self.until(lambda: "held.Bad" not in self.status(), "the mended one is at work")
        self.check_bindings()
        self.assertEqual(self.state("scheduler")["restarts"], restarts)

    def test_a_policy_that_crashes_is_held(self):
        self.check_held("CRASH", "crashed in score (SIGSEGV)")

    def test_a_policy_that_aborts_is_held(self):
        self.check_held("ABORT", "crashed in score (SIGABRT)")

    def test_a_policy_that_loops_is_held(self):
        self.check_held("LOOP", "did not return from score")

    def test_a_policy_that_leaves_is_held(self):
        self.check_held("EXIT", "ended the process in score")

    def test_a_policy_that_crashes_after_it_has_asked_others_is_held_not_they(self):
        self.put("pods/t/huge", pod("huge", cpu="65"))
        self.check_held("ASK", "crashed in postFilter (SIGSEGV)")

    def test_a_policy_that_talks_nonsense_is_held(self):
        self.check_held("NONSENSE", "score 1000 is not in 0 … 100")

    def test_a_policy_that_is_held_is_tried_again_when_the_key_is_deleted(self):
        bad = self.keep("bad_NONSENSE")
        self.configure(profile("Bad"), Bad=bad)
        for _ in range(2):
            self.add_pods(20)
            self.until(lambda: "held.Bad" in self.status(), "it is held")
            now = self.get(STATUS)
            doc = now["doc"]
            del doc["data"]["held.Bad"]
            self.put(STATUS, doc)
            self.until(lambda: not self.bus.call("scheduler", "scheduler.policies")["profiles"][0]
                       ["policies"][-1].get("held") or "held.Bad" in self.status(), "it is tried again")
        self.check_bindings()

    def test_files_that_nobody_needs_any_more_go(self):
        one, two = self.keep("keep_off_1"), self.keep("keep_off_2")
        folder = pathlib.Path(self.data, "policies")
        for file in folder.glob("*.so"):
            os.utime(file, (0, 0))
        self.at_work(profile("KeepOff"), KeepOff=one)
        self.assertEqual(sorted(f.name for f in folder.glob("*.so")), sorted([f"{one}.so", f"KeepOff-{one}.so"]))
        self.assertEqual(self.keep("keep_off_2"), two)
        self.at_work(profile("KeepOff"), KeepOff=two)
        self.assertTrue((folder / f"KeepOff-{two}.so").exists())

    def test_what_is_no_policy_is_not_kept(self):
        whole = (FILES / "keep_off_1.so").read_bytes()
        cut = pathlib.Path(self.data, "cut.so")
        for data in (b"", b"no policy", whole[:100], whole[:-100], whole[:len(whole) // 2]):
            cut.write_bytes(data)
            with self.assertRaises(CallError):
                self.bus.call("scheduler", "scheduler.keep", {"file": str(cut)})
        with self.assertRaises(CallError):
            self.bus.call("scheduler", "scheduler.keep", {"file": str(self.data)})
        shutil.copy(FILES / "keep_off_1.so", cut)
        self.assertEqual(self.bus.call("scheduler", "scheduler.keep", {"file": str(cut)})["name"], "KeepOff")
        self.assertEqual(self.state("scheduler")["restarts"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
