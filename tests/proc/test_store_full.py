"""A real disk that runs full under the store: a small tmpfs in a mount namespace of its own. Writes are refused with
InsufficientStorage, reads go on, and when there is room again so do writes, with nothing lost. Needs the right to mount."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus, CallError  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"
INSIDE = "KUBUS_TEST_MOUNT"


def put(bus, number):
    return bus.call("store", "store.txn", {"ops": [
        {"op": "put", "key": f"pods/a/p{number}", "doc": {"pad": "x" * 20000},
         "if": {"absent": True}}]})["rev"]


class DiskFull(unittest.TestCase):
    def setUp(self):
        self.mount = os.environ[INSIDE]
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", self.mount], check=True)
        self.data = self.mount + "/data"
        self.bus = Bus(self.data)
        self.store = subprocess.Popen([KUBUS, "actor", "store", "--data", self.data, "--standalone"])

    def tearDown(self):
        self.bus.close()
        self.store.send_signal(signal.SIGTERM)
        self.store.wait(30)
        subprocess.run(["umount", self.mount])

    def status(self):
        return self.bus.call("store", "store.status")

    def until(self, condition, timeout=120):
        deadline = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.status())
            time.sleep(0.05)

    def test_full_disk(self):
        written = 0
        with self.assertRaises(CallError) as refused:
            while written < 5000:
                put(self.bus, written)
                written += 1
        self.assertEqual(refused.exception.reason, "InsufficientStorage")
        self.until(lambda: "failing" in self.status())  # LMDB found no room either
        self.assertIn("No space left", self.status()["failing"])
        page = self.bus.call("store", "store.list", {"view": "pods", "limit": 50})
        self.assertEqual((len(page["items"]), page["rev"]), (50, written))
        with self.assertRaises(CallError):
            put(self.bus, written)
        subprocess.run(["mount", "-o", "remount,size=200m", self.mount], check=True)
        self.until(lambda: "failing" not in self.status())
        self.assertEqual(put(self.bus, written), written + 1)
        self.assertEqual(self.bus.call("store", "store.check", timeout=60), {"problems": []})
        self.assertEqual(self.status()["objects"], written + 1)


def main():
    if INSIDE in os.environ:
        unittest.main(verbosity=2)
    mount = tempfile.mkdtemp(prefix="kubus-store-full-")
    try:
        inside = [sys.executable, __file__]
        allowed = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", mount],
                                 capture_output=True).returncode == 0
        if not allowed:
            print("skipped: this user may not mount")
            return 77
        return subprocess.run(["unshare", "-m", *inside], env={**os.environ, INSIDE: mount}).returncode
    finally:
        shutil.rmtree(mount, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
