"""`kubus up` and `kubus down` while kubusd and its guardian are killed with SIGKILL: a cluster comes up all the
same, and when `down` has returned, no process of it is left, and none comes back."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus  # noqa: E402
from ports import free_port  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"


class Down(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("KUBUS_TEST_SEED", random.randrange(2**32)))
        print(f"seed: KUBUS_TEST_SEED={self.seed}")
        self.random = random.Random(self.seed)
        self.data = tempfile.mkdtemp(prefix="kubus-down-")
        self.addCleanup(self.clean)

    def clean(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)

    def up(self):
        return subprocess.Popen([KUBUS, "up", "--data", self.data, "--listen", f"127.0.0.1:{free_port()}", "--nodes", "0",
                                 "--hollow-nodes", "1", "--detach"], stdout=subprocess.PIPE, text=True)

    def whole(self):
        done = self.up()
        self.assertEqual(done.wait(300), 0, done.stdout.read())
        done.stdout.close()

    def down(self):
        done = subprocess.run([KUBUS, "down", "--data", self.data], capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def processes(self, word=""):
        """Of this cluster, but for zombies and the command line's own."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if self.data in words and words[1:2] == ["actor"] and word in words:
                found[int(entry.name)] = words
        return found

    def kubusd(self):
        return [pid for pid, words in self.processes("kernel").items() if "--guard" not in words]

    def kill(self, pids):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def killer(self, times, most_s):
        """A thread that kills kubusd so often."""
        def work():
            for _ in range(times):
                time.sleep(self.random.uniform(0, most_s))  # any moment
                self.kill(self.kubusd())
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def test_kubusd_is_killed_while_the_cluster_starts(self):
        for _ in range(3):
            up = self.up()
            killer = self.killer(3, 0.15)
            self.assertEqual(up.wait(300), 0, up.stdout.read())
            up.stdout.close()
            killer.join()
            self.assertIn("stopped", self.down())
            self.assertEqual(self.processes(), {})

    def test_kubusd_was_killed_just_before(self):
        self.whole()
        for again in range(2):
            self.kill(self.kubusd())
            self.assertIn("stopped", self.down())
            self.assertEqual(self.processes(), {})
            if not again:
                self.whole()

    def test_kubusd_is_killed_while_it_stops_the_cluster(self):
        for _ in range(3):
            self.whole()
            killer = self.killer(3, 0.1)
            self.assertIn("stopped", self.down())
            killer.join()
            self.assertEqual(self.processes(), {})

    def test_actors_that_have_lost_kubusd_and_guardian_are_stopped_too(self):
        self.whole()
        self.kill(sorted(self.processes("--guard")) + self.kubusd())
        self.assertNotEqual(self.processes(), {})
        self.assertIn("stopped", self.down())
        self.assertEqual(self.processes(), {})
        self.assertIn("was not running", self.down())

    def test_a_start_right_after_kubusd_was_killed_is_refused(self):
        self.whole()
        self.kill(self.kubusd())
        second = self.up()
        second.stdout.close()
        self.assertNotEqual(second.wait(300), 0)
        bus = Bus(self.data)
        self.addCleanup(bus.close)
        self.assertTrue(bus.call("kernel", "kernel.status", timeout=120)["cluster"])  # the old one is whole
        self.down()


if __name__ == "__main__":
    unittest.main(verbosity=2)
