"""A test case with a kernel of its own that runs the actors it is told to: some of a cluster, not all."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from kubus_bus import Bus, CallError

TOP = pathlib.Path(__file__).resolve().parents[2]
KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"


class ProcessTest(unittest.TestCase):
    def start(self, name, actors):
        """Run {name: arguments behind `kubus`} under a kernel until the test is over; all are ready then."""
        self.data = tempfile.mkdtemp(prefix=f"kubus-{name}-")
        plan = [{"name": actor, "argv": argv} for actor, argv in actors.items()]
        pathlib.Path(self.data, "cluster.json").write_text(json.dumps({"version": 1, "actors": plan}))
        self.kernel = subprocess.Popen([KUBUS, "actor", "kernel", "--data", self.data])
        self.bus = Bus(self.data)
        self.addCleanup(self.stop)
        self.until(self.all_ready, "all actors are ready")

    def stop(self):
        self.bus.close()
        self.kernel.send_signal(signal.SIGTERM)
        self.kernel.wait(30)
        shutil.rmtree(self.data, ignore_errors=True)

    def until(self, condition, what, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            try:
                if condition():
                    return
            except (CallError, TimeoutError, KeyError, StopIteration):
                pass
            self.assertLess(time.monotonic(), deadline, f"not within {timeout} s: {what}")
            time.sleep(0.02)

    def object_call(self, method, resource, ns, **body):
        """Call the gateway about objects. One that is to be made and is there already: True."""
        try:
            return self.bus.call("api", method, {"resource": resource, "ns": ns, **body}, timeout=3)
        except CallError as error:
            if error.reason == "AlreadyExists":
                return True
            raise

    def actors(self):
        return self.bus.call("kernel", "kernel.status", timeout=1)["actors"]

    def state(self, name):
        return next(actor for actor in self.actors() if actor["name"] == name)

    def all_ready(self):
        return all(actor["state"] == "ready" for actor in self.actors())

    def kill(self, name):
        pid = self.state(name)["pid"]
        if pid <= 1:
            return  # it is dead at the moment
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.bus.drop(name)
