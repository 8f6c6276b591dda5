"""The example controller in Python over the real bus: it mirrors, follows, cleans up, and gets over the death of
the store and the api."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib")]

from kubus_bus import Bus, CallError  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"
MIRROR = TOP / "plugins" / "examples" / "python" / "mirror.py"
TO = "examples.kubus.dev/mirror-to"


class Mirror(unittest.TestCase):
    def setUp(self):
        self.data = tempfile.mkdtemp(prefix="kubus-mirror-")
        self.processes = {}
        self.bus = Bus(self.data)
        self.addCleanup(self.stop)
        self.start("store", [KUBUS, "actor", "store", "--standalone", "--data", self.data])
        self.start("api", [KUBUS, "actor", "api", "--standalone", "--data", self.data, "--listen", "127.0.0.1:0"])
        self.start("mirror", [sys.executable, MIRROR, self.data])
        for name in ("a", "b", "c"):
            self.until(lambda name=name: self.create("namespaces", "", {"metadata": {"name": name}}),
                       f"namespace {name} is made")

    def stop(self):
        self.bus.close()
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self, name, argv):
        self.processes[name] = subprocess.Popen([str(arg) for arg in argv])

    def kill(self, name):
        process = self.processes[name]
        process.kill()
        process.wait()
        self.bus.drop(name)
        self.start(name, process.args)

    def until(self, condition, what, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            try:
                if condition():
                    return
            except (CallError, TimeoutError):
                pass
            self.assertLess(time.monotonic(), deadline, f"not within {timeout} s: {what}")
            time.sleep(0.02)

    def create(self, resource, ns, doc):
        kind = {"namespaces": "Namespace", "configmaps": "ConfigMap"}[resource]
        body = {"resource": resource, "ns": ns, "doc": {"apiVersion": "v1", "kind": kind, **doc}}
        try:
            return self.bus.call("api", "object.create", body, timeout=2)
        except CallError as error:
            if error.reason == "AlreadyExists":
                return True
            raise

    def config(self, ns, name):
        try:
            return self.bus.call("store", "store.get", {"key": f"configmaps/{ns}/{name}"}, timeout=2)["doc"]
        except CallError as error:
            if error.reason == "NotFound":
                return None
            raise

    def patch(self, ns, name, patch):
        return self.bus.call("api", "object.patch", {"resource": "configmaps", "ns": ns, "name": name,
                                                     "type": "merge", "patch": patch}, timeout=5)

    def source(self, name, to, data):
        self.create("configmaps", "a", {"metadata": {"name": name, "namespace": "a", "annotations": {TO: to}},
                                        "data": data})

    def test_a_copy_follows_its_source_and_goes_with_it(self):
        self.source("settings", "b", {"color": "blue"})
        self.until(lambda: (self.config("b", "settings") or {}).get("data") == {"color": "blue"}, "the copy is there")
        self.patch("a", "settings", {"data": {"color": "red"}})
        self.until(lambda: self.config("b", "settings")["data"] == {"color": "red"}, "the copy follows")
        self.patch("b", "settings", {"data": {"color": "green"}})
        self.until(lambda: self.config("b", "settings")["data"] == {"color": "red"}, "a change of the copy is undone")
        self.patch("a", "settings", {"metadata": {"annotations": {TO: "c"}}})
        self.until(lambda: self.config("c", "settings") and not self.config("b", "settings"), "the copy moves")
        self.bus.call("api", "object.delete", {"resource": "configmaps", "ns": "a", "name": "settings"})
        self.until(lambda: not self.config("c", "settings"), "the copy goes")

    def test_what_belongs_to_somebody_else_is_left_alone(self):
        self.create("configmaps", "b", {"metadata": {"name": "own", "namespace": "b"}, "data": {"x": "1"}})
        self.source("own", "b", {"x": "2"})
        self.source("marker", "b", {})
        self.until(lambda: self.config("b", "marker"), "what came later is mirrored")
        self.assertEqual(self.config("b", "own")["data"], {"x": "1"})

    def test_it_gets_over_the_death_of_store_and_api(self):
        for i in range(30):
            self.until(lambda i=i: self.source(f"s{i}", "b", {"i": str(i)}) or True, "the source is made")
            if i in (10, 20):
                self.kill("store" if i == 10 else "api")
        self.until(lambda: all((self.config("b", f"s{i}") or {}).get("data") == {"i": str(i)} for i in range(30)),
                   "all copies are there", timeout=60)


if __name__ == "__main__":
    unittest.main()
