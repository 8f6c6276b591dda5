#!/usr/bin/env python3
"""What a policy in Python costs: pods a second from their creation to durable bindings, with the default profile,
and with plugins/examples/python/judge.py asked for every pod, or for batches. A store and a scheduler.

    KUBUS_BUILD=build bench/scheduler/bench_remote.py [NODES] [PODS]
"""
import json
import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(TOP / "tests" / "proc")]

from processes import ProcessTest  # noqa: E402
from test_remote import EXAMPLES, HEAD, Remote, node, pod  # noqa: E402

NODES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
PODS = int(sys.argv[2]) if len(sys.argv) > 2 else 4000


class Bench(Remote):
    def runTest(self):
        for batch in (0, 1, 32, 256):
            self.measure(batch)

    def setUp(self):
        self.start("bench", {name: ["actor", name] for name in ("store", "scheduler")})
        ops = [{"op": "put", "key": f"nodes//n{i}", "doc": node(f"n{i}", "a")} for i in range(NODES)]
        self.bus.call("store", "store.txn", {"ops": ops}, timeout=60)

    def measure(self, batch):
        judge = None
        if batch:
            judge = subprocess.Popen([sys.executable, str(EXAMPLES / "judge.py"), self.data])
            self.configure(pods=batch, timeoutMs=10000)
        docs = [pod(f"b{batch}-{i}", "a") for i in range(PODS)]
        start = time.monotonic()
        for at in range(0, PODS, 500):
            self.bus.call("store", "store.txn", {"ops": [
                {"op": "put", "key": f"pods/t/{d['metadata']['name']}", "doc": d}
                for d in docs[at:at + 500]]}, timeout=60)
        self.until(lambda: self.bound_so_far(batch) >= PODS, "all are bound", timeout=600)
        took = time.monotonic() - start
        print(json.dumps({"bench": "remote", "nodes": NODES, "pods": PODS, "batch": batch,
                          "per_second": round(PODS / took)}), flush=True)
        if judge:
            self.end(judge)

    def bound_so_far(self, batch):
        items = self.bus.call("store", "store.list", {"view": "pods"}, timeout=60)["items"]
        return sum(1 for p in items if p["key"].startswith(f"pods/t/b{batch}-") and
                   p["doc"]["spec"].get("nodeName"))


if __name__ == "__main__":
    Bench("runTest").debug()
