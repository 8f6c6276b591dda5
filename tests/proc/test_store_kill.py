"""The store is killed with SIGKILL under 64 writers, again and again. In the end the log of all revisions must
have every write that was acknowledged, at the revision that was said, none that was refused, and those of unknown
outcome at most once; and the database must pass its check."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import msgpack
import zmq

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"
WRITERS = 64
KILLS = int(os.environ.get("KUBUS_KILLS", "20"))
SHARED = 8
SENT, ACKED, REFUSED, UNKNOWN = range(4)


class Writer:
    """One writer with one call under way, on a connection of its own."""

    def __init__(self, number, bus, rand):
        self.number, self.bus, self.rand = number, bus, rand
        self.socket, self.count, self.id = None, 0, 0
        self.outcome = {}     # token -> [state, revision]
        self.revs = {}        # own key -> revision last known
        self.token = self.key = None

    def disconnect(self, poller):
        """What is under way is of unknown outcome."""
        poller.unregister(self.socket)
        self.socket.close(linger=0)
        self.outcome[self.token][0] = UNKNOWN
        self.revs.pop(self.key, None)

    def connect(self, poller):
        self.socket = self.bus.context.socket(zmq.DEALER)
        self.socket.connect(f"ipc://{self.bus.run}/store.sock")
        poller.register(self.socket, zmq.POLLIN)

    def operation(self):
        kind = self.rand.random()
        own = f"configmaps/w{self.number}/k{self.rand.randrange(4)}"
        shared = f"configmaps/shared/k{self.rand.randrange(SHARED)}"
        if kind < 0.35:
            return own, {"absent": True}
        if kind < 0.7 and own in self.revs:
            return own, {"rev": self.revs[own]}
        if kind < 0.75:
            return own, {"rev": 1 << 40}  # certainly refused
        if kind < 0.85:
            return shared, {"absent": True}
        return own, None

    def send(self):
        self.count += 1
        self.id += 1
        self.token = f"w{self.number}-{self.count}"
        self.key, condition = self.operation()
        doc = {"token": self.token, "pad": "x" * self.rand.randrange(2000)}
        op = {"op": "put", "key": self.key, "doc": doc}
        if condition:
            op["if"] = condition
        ops = [op]
        if self.rand.random() < 0.2:  # a second one, in the same transaction
            ops.append({"op": "put", "key": f"configmaps/w{self.number}/pair",
                        "doc": {"token": self.token + "+"}})
        if self.rand.random() < 0.1 and self.key in self.revs and not condition:
            ops = [{"op": "del", "key": self.key}, {"op": "put", "doc": {"token": self.token},
                    "key": f"configmaps/w{self.number}/grave"}]
        self.outcome[self.token] = [SENT, len(ops) == 2 and ops[1]["doc"]["token"] != self.token]
        header = {"v": 1, "t": "call", "id": self.id, "m": "store.txn", "from": f"w{self.number}",
                  "dl": 60000}
        self.socket.send_multipart([msgpack.packb(header), msgpack.packb({"ops": ops})])

    def receive(self):
        frames = self.socket.recv_multipart()
        answer, body = msgpack.unpackb(frames[0]), msgpack.unpackb(frames[1])
        assert answer["id"] == self.id
        state = self.outcome[self.token]
        if answer["t"] == "ok":
            state[0] = ACKED
            state.append(body["rev"])
            self.revs[self.key] = body["rev"]
        else:
            assert body["reason"] in ("AlreadyExists", "Conflict", "NotFound"), body
            state[0] = REFUSED
            if "current" in body and body["current"]["key"].startswith("configmaps/w"):
                self.revs[self.key] = body["current"]["rev"]


class StoreKilled(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("KUBUS_TEST_SEED", time.time_ns()))
        self.rand = random.Random(self.seed)
        self.data = tempfile.mkdtemp(prefix="kubus-store-kill-")
        self.bus = Bus(self.data)
        self.store = None

    def tearDown(self):
        self.bus.close()
        if self.store and self.store.poll() is None:
            self.store.terminate()
            self.store.wait(30)
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self):
        self.store = subprocess.Popen([KUBUS, "actor", "store", "--data", self.data, "--standalone",
                                       "--history-s", "0"], stderr=subprocess.DEVNULL)

    def write_for(self, writers, poller, by_socket, seconds):
        """Returns how many answers came; goes on until there are some."""
        answers, began = 0, time.monotonic()
        while time.monotonic() - began < seconds or (answers < WRITERS and
                                                     time.monotonic() - began < 20):
            for socket, _ in poller.poll(50):
                writer = by_socket[socket]
                writer.receive()
                writer.send()
                answers += 1
        return answers

    def run_writers(self):
        writers = [Writer(i, self.bus, self.rand) for i in range(WRITERS)]
        poller = zmq.Poller()
        answers = 0
        for kill in range(KILLS):
            self.start()
            for writer in writers:
                writer.connect(poller)
                writer.send()
            by_socket = {writer.socket: writer for writer in writers}
            answers += self.write_for(writers, poller, by_socket, self.rand.uniform(0.02, 0.6))
            self.store.kill()
            self.store.wait()
            for writer in writers:
                writer.disconnect(poller)
        return writers, answers

    def test_acknowledged_writes_survive_and_refused_ones_do_not_appear(self):
        writers, answers = self.run_writers()
        self.start()
        found, rev = {}, 0
        for change in self.bus.replay("configmaps"):
            self.assertIn(change["rev"], (rev, rev + 1), f"revisions jump, seed {self.seed}")
            rev = change["rev"]
            if change["op"] == "put":
                token = change["doc"]["token"]
                self.assertNotIn(token, found, f"{token} is there twice, seed {self.seed}")
                found[token] = rev
        counts = [0] * 4
        for writer in writers:
            for token, (state, pair, *at) in writer.outcome.items():
                counts[state] += 1
                if state == ACKED:
                    self.assertEqual(found.pop(token, None), at[0], f"{token}, seed {self.seed}")
                elif state == REFUSED:
                    self.assertNotIn(token, found, f"seed {self.seed}")
                else:
                    at = [found.pop(token, None)]
                second = found.pop(token + "+", None)
                self.assertEqual(second, at[0] if pair and at else None, f"{token}, seed {self.seed}")
        self.assertEqual(found, {}, f"writes that nobody sent, seed {self.seed}")
        self.assertGreater(counts[ACKED], KILLS * WRITERS // 4)  # a slow disk makes them few
        self.assertEqual(self.bus.call("store", "store.check", timeout=60), {"problems": []})
        print(f"{KILLS} kills, {answers} answers: {counts[ACKED]} acknowledged, {counts[REFUSED]} "
              f"refused, {counts[UNKNOWN]} unknown, revision {rev}; sound")
        self.store.terminate()
        self.assertEqual(self.store.wait(30), 0)
        check = subprocess.run([KUBUS, "store", "check", "--data", self.data], capture_output=True,
                               text=True)
        self.assertEqual((check.returncode, check.stdout), (0, "the store is sound\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
