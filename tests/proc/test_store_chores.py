"""The store is killed with SIGKILL while it compacts, makes backups and is written to. Afterwards it is sound and
has the newest acknowledged state of every key; and each backup that was said to be complete can be restored and has
the states of its revision."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"
WRITERS, KEYS, KILLS = 4, 8, 10


class Worker(threading.Thread):
    """Calls the store until it is told to stop; each call has a connection of its own."""
    timeout_s = 2

    def __init__(self, data, seed):
        super().__init__(daemon=True)
        self.data, self.rand = data, random.Random(seed)
        self.ended = threading.Event()
        self.error = None

    def call(self, method, body):
        """The result; None: nobody knows."""
        bus = Bus(self.data)
        try:
            return bus.call("store", method, body, timeout=self.timeout_s)
        except TimeoutError:
            return None
        finally:
            bus.close()

    def run(self):
        try:
            while not self.ended.is_set():
                self.step()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error


class Writer(Worker):
    """Writes its own keys, with documents of all sizes; remembers what each may hold since when."""

    def __init__(self, data, seed, number):
        super().__init__(data, seed)
        self.number, self.count = number, 0
        self.states = {}  # key → [(token, revision or None)], in the order sent

    def step(self):
        self.count += 1
        key, token = f"configmaps/w{self.number}/k{self.rand.randrange(KEYS)}", f"{self.number}-{self.count}"
        doc = {"token": token, "pad": "x" * self.rand.choice((10, 1000, 5000, 60000))}
        answer = self.call("store.txn", {"ops": [{"op": "put", "key": key, "doc": doc}]})
        self.states.setdefault(key, []).append((token, answer and answer["rev"]))

    def may_hold(self, key, rev):
        """The tokens that a key may have at a revision: the last acknowledged one up to it, and those of unknown
        outcome: what a connection of before sent may be carried out behind what a later one did."""
        states = self.states.get(key, [])
        acknowledged = [None] + [token for token, at in states if at is not None and at <= rev]
        return {acknowledged[-1]} | {token for token, at in states if at is None}


class Chores(Worker):
    """Compacts and backs up, one after the other."""
    timeout_s = 10

    def __init__(self, data, seed):
        super().__init__(data, seed)
        self.backups = {}  # file → revision
        self.compactions = self.count = 0

    def step(self):
        self.count += 1
        file = f"{self.data}/backup-{self.count}"
        if self.call("store.compact", {}) is not None:
            self.compactions += 1
        answer = self.call("store.backup", {"file": file})
        if answer is not None:
            self.backups[file] = answer["rev"]


class StoreChores(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("KUBUS_TEST_SEED", random.randrange(2**32)))
        print(f"seed: KUBUS_TEST_SEED={self.seed}")
        self.rand = random.Random(self.seed)
        self.data = tempfile.mkdtemp(prefix="kubus-store-chores-")
        self.addCleanup(shutil.rmtree, self.data, True)

    def start(self, data):
        return subprocess.Popen([KUBUS, "actor", "store", "--data", data, "--standalone", "--history-s", "1"],
                                stderr=subprocess.DEVNULL)

    def check(self, writers, data, rev=None):
        """What a store has is what it must have at a revision, its own when it is None."""
        store, bus = self.start(data), Bus(data)
        try:
            page = bus.call("store", "store.list", {"view": "configmaps"}, timeout=120)
            has = {item["key"]: item["doc"]["token"] for item in page["items"]}
            for writer in writers:
                for key in writer.states:
                    self.assertIn(has.pop(key, None), writer.may_hold(key, page["rev"] if rev is None else rev),
                                  f"{key} at {rev}, seed {self.seed}")
            self.assertEqual(has, {}, f"seed {self.seed}")
            self.assertEqual(bus.call("store", "store.check", timeout=120), {"problems": []})
        finally:
            bus.close()
            store.terminate()
            self.assertEqual(store.wait(120), 0)

    def work(self, workers):
        for worker in workers:
            worker.start()
        for _ in range(KILLS):
            store = self.start(self.data)
            time.sleep(self.rand.uniform(0.05, 0.8))  # any moment of its work
            store.kill()
            store.wait()
        store = self.start(self.data)
        deadline = time.monotonic() + 120  # a slow machine shall have one of each, too
        while not (workers[0].backups and workers[0].compactions) and time.monotonic() < deadline:
            time.sleep(0.05)
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join(60)
            self.assertIsNone(worker.error)
        store.kill()
        store.wait()

    def test_killed_while_it_compacts_and_backs_up(self):
        seeds = [self.rand.randrange(2**32) for _ in range(WRITERS + 1)]
        chores = Chores(self.data, seeds[0])
        writers = [Writer(self.data, seeds[n + 1], n) for n in range(WRITERS)]
        self.work([chores, *writers])
        self.check(writers, self.data)
        self.assertTrue(chores.backups)
        some = sorted(chores.backups)
        for file in self.rand.sample(some, min(4, len(some))):
            with tempfile.TemporaryDirectory(prefix="kubus-store-chores-") as folder:
                subprocess.run([KUBUS, "store", "restore", file, "--data", folder], check=True, capture_output=True)
                self.check(writers, folder, chores.backups[file])
        print(f"{KILLS} kills, {chores.compactions} compactions, {len(chores.backups)} backups, "
              f"{sum(w.count for w in writers)} writes")


if __name__ == "__main__":
    unittest.main(verbosity=2)
