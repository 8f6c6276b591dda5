#!/usr/bin/env python3
"""What a loaded policy costs, and its upgrades: waiting pods bound a second with one loaded filter beside the default
set, and the same while upgrades of that filter are written, one every 10 ms. A store and a scheduler.

    KUBUS_BUILD=build bench/scheduler/bench_upgrade.py [NODES] [PODS] [TIMES]

The pods wait for a profile that is not there; the clock runs from the write of that profile until the last is bound.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(TOP / "tests" / "proc")]

from processes import KUBUS  # noqa: E402
from test_policies import HEAD, Policies, node, pod  # noqa: E402

NODES, PODS, TIMES = [int(a) for a in sys.argv[1:]] + [1000, 10000, 5][len(sys.argv) - 1:]
EVERY_S = 0.01
PROFILE = HEAD + "profiles: [{schedulerName: later, plugins: {multiPoint: {enabled: [{name: KeepOff}]}}}]\n"


class Bench(Policies):
    def runTest(self):
        self.versions = [self.keep("keep_off_1"), self.keep("keep_off_2")]
        self.all_wait()
        follower = subprocess.Popen([KUBUS.parent / "bench_bind", "--follow", "--data", self.data, "--pods", str(PODS)],
                                    text=True, stdout=subprocess.PIPE)
        follower.stdout.readline()
        ended, begin = threading.Event(), time.monotonic()
        self.written = 1
        self.configure(PROFILE, KeepOff=self.versions[0])
        if self.upgrades:
            writer = threading.Thread(target=self.upgrade_until, args=(ended,))
            writer.start()
        end, _ = follower.communicate()
        ended.set()
        if self.upgrades:
            writer.join()
        self.assertEqual(follower.returncode, 0)
        self.per_second = PODS / (float(end) - begin)

    def all_wait(self):
        for kind, docs in (("nodes/", [node(f"n{i}") for i in range(NODES)]),
                           ("pods/t", [pod(f"p{i}") for i in range(PODS)])):
            for doc in docs:
                doc["spec"] = {**doc.get("spec", {}), "schedulerName": "later"} if kind == "pods/t" else {}
            for at in range(0, len(docs), 500):
                self.bus.call("store", "store.txn", {"ops": [
                    {"op": "put", "key": f"{kind}/{d['metadata']['name']}", "doc": d}
                    for d in docs[at:at + 500]]}, timeout=60)

    def upgrade_until(self, ended):
        while not ended.wait(EVERY_S):
            self.configure(PROFILE, KeepOff=self.versions[self.written % 2])
            self.written += 1


def measure(upgrades):
    found = []
    for _ in range(TIMES):
        bench = Bench("runTest")
        bench.upgrades = upgrades
        bench.debug()
        found.append((bench.per_second, bench.written - 1))
    found.sort()
    print(json.dumps({"bench": "upgrade", "nodes": NODES, "pods": PODS, "upgrades": [n for _, n in found],
                      "per_second": [round(p) for p, _ in found],
                      "median": round(statistics.median(p for p, _ in found))}), flush=True)


if __name__ == "__main__":
    measure(False)
    measure(True)
