"""`kubus store backup|restore|check` against a store that runs, and one that does not."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus, CallError  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"


class Tools(unittest.TestCase):
    def setUp(self):
        self.data = tempfile.mkdtemp(prefix="kubus-store-tools-")
        self.store = self.bus = None
        self.start()

    def tearDown(self):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self):
        self.bus = Bus(self.data)
        self.store = subprocess.Popen([KUBUS, "actor", "store", "--data", self.data, "--standalone"],
                                      stderr=subprocess.DEVNULL)

    def stop(self):
        if self.store:
            self.bus.close()
            self.store.terminate()
            self.assertEqual(self.store.wait(30), 0)
            self.store = None

    def tool(self, *args):
        run = subprocess.run([KUBUS, "store", *args, "--data", self.data], capture_output=True,
                             text=True, timeout=60)
        return run.returncode, run.stdout + run.stderr

    def put(self, name):
        return self.bus.call("store", "store.txn", {"ops": [
            {"op": "put", "key": f"pods/a/{name}", "doc": {"metadata": {"name": name}}}]})["rev"]

    def names(self):
        items = self.bus.call("store", "store.list", {"view": "pods"})["items"]
        return [item["doc"]["metadata"]["name"] for item in items]

    def test_backup_and_restore(self):
        self.put("x")
        self.put("y")
        file = self.data + "/backup"
        code, text = self.tool("backup", file)
        self.assertEqual((code, text.split(" (")[0]), (0, f"backup of revision 2 in {file}"))
        database = self.bus.call("store", "store.status")["db"]
        self.put("z")
        self.assertEqual(self.tool("check"), (0, "the store is sound\n"))
        code, text = self.tool("restore", file)
        self.assertEqual(code, 1)
        self.assertIn("stop it first", text)
        self.stop()
        self.assertEqual(self.tool("backup", self.data + "/second")[0], 0)  # of one that rests
        self.assertEqual(self.tool("restore", file)[0], 0)
        self.assertEqual(self.tool("check"), (0, "the store is sound\n"))
        self.start()
        self.assertEqual(self.names(), ["x", "y"])
        self.assertNotEqual(self.bus.call("store", "store.status")["db"], database)
        self.assertEqual(self.put("w"), 3)
        self.stop()
        self.assertEqual(self.tool("restore", self.data + "/second")[0], 0)
        self.start()
        self.assertEqual(self.names(), ["x", "y", "z"])

    def test_damage_is_told(self):
        self.put("x")
        self.assertEqual(self.tool("backup", self.data + "/backup")[0], 0)
        self.stop()
        with open(self.data + "/backup", "r+b") as backup:
            backup.seek(9000)
            backup.write(b"damage")
        code, text = self.tool("restore", self.data + "/backup")
        self.assertEqual(code, 1)
        self.assertIn("is damaged", text)
        path = pathlib.Path(self.data, "store/db/data.mdb")
        whole = path.read_bytes()
        at = whole.find(b"metadata")
        path.write_bytes(whole[:at] + b"METADATA" + whole[at + 8:])
        code, text = self.tool("check")
        self.assertEqual(code, 1)
        self.assertIn("the record of revision 1 is damaged", text)
        self.start()
        with self.assertRaises(CallError):
            self.bus.call("store", "store.get", {"key": "pods/a/x"})
        self.assertEqual(self.put("y"), 2)  # the rest goes on


if __name__ == "__main__":
    unittest.main(verbosity=2)
