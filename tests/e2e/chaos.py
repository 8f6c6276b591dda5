#!/usr/bin/env python3
"""Kill -9 any actor at random, many times, during rolling updates under load.

Afterwards: every acknowledged write is in the store and no refused one, the cluster has converged,
no container is doubled, no pod is lost. The whole revision log is read to prove it.

    chaos.py [--kills 100] [--seed N] [--keep]
"""
import argparse
import json
import os
import random
import re
import signal
import sys
import threading
import time
import traceback

import cluster
import revision_log
from kubus_bus import Bus

REPLICAS = 6
# Limits that only a cluster that is stuck reaches. What a kill may cost: ten seconds of back-off, a start,
# and, on a machine that is loaded beyond measure, a start that is taken for a hang.
BACK_S, CONVERGE_S = 120, 240
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {
        "replicas": REPLICAS,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "busybox",
                                "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]}],
            }}},
}


class Worker(threading.Thread):
    """A thread that works until it is told to stop. What it dies of is kept: see problems()."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop, self.error = threading.Event(), None

    def run(self):
        try:
            self.work()
        except BaseException:  # pylint: disable=broad-except
            self.error = traceback.format_exc()

    def problems(self):
        if self.is_alive():
            return [f"{self} does not end"]
        return [self.error] if self.error else []


class Writer(Worker):
    """Creates ConfigMaps one after the other, and keeps what it was told about each."""

    def __init__(self, here, number):
        super().__init__()
        self.here, self.number = here, number
        self.acknowledged, self.refused, self.unknown = set(), {}, 0

    def work(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            name = f"w{self.number}-{count}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                    "data": {"payload": "x" * 200}}
            try:
                status, answer = self.here.request("POST", "/api/v1/namespaces/default/configmaps", body)
            except OSError:
                self.unknown += 1  # no answer: it may or may not have been carried out
                self.stop.wait(0.01)
                continue
            if status == 201:
                rev = int(answer["metadata"]["resourceVersion"])
                self.acknowledged.add((f"configmaps/default/{name}", rev))
            elif status < 500 and status != 429:
                self.refused[f"configmaps/default/{name}"] = f"{status}: {answer}"
            else:
                self.unknown += 1


class Roller(Worker):
    """Changes the Deployment's template again and again: a rolling update is always under way."""

    def __init__(self, here):
        super().__init__()
        self.here, self.rolls = here, 0

    def work(self):
        while not self.stop.wait(3.0):
            patch = {"spec": {"template": {"metadata": {"annotations": {"roll": str(self.rolls)}}}}}
            try:
                status, _ = self.here.request(
                    "PATCH", "/apis/apps/v1/namespaces/default/deployments/web", patch,
                    content_type="application/merge-patch+json")
                self.rolls += status == 200
            except OSError:
                pass


def kill_one(here, rng):
    """Kill an actor and wait until kubusd has it back. Its name, and the seconds that took."""
    def choose():
        actors = sorted((a for a in here.actors() if a["state"] == "ready"), key=lambda a: a["name"])
        victim = rng.choice(actors + [{"name": "kernel", "pid": here.kernel_pid()}])
        os.kill(victim["pid"], signal.SIGKILL)  # OSError when it has just ended by itself: choose again
        return victim

    def back():
        kernel = here.kernel()
        if victim["name"] == "kernel":
            return kernel["pid"] != victim["pid"]
        now = [a for a in kernel["actors"] if a["name"] == victim["name"]]
        ready = any(a["pid"] != victim["pid"] and a["state"] == "ready" for a in now)
        return ready or cluster.No(now)
    victim = here.until(choose, BACK_S, "somebody to kill")
    start = time.monotonic()
    here.until(back, BACK_S, f"{victim['name']} is back after kill -9 of {victim['pid']}")
    return victim["name"], time.monotonic() - start


def converged(here):
    status, web = here.request("GET", "/apis/apps/v1/namespaces/default/deployments/web")
    if status != 200 or web["metadata"]["generation"] != web["status"].get("observedGeneration"):
        return cluster.No((status, web))
    state = web["status"]
    if any(state.get(k) != REPLICAS for k in ("replicas", "updatedReplicas", "availableReplicas")):
        return cluster.No(state)
    status, pods = here.request("GET", "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb")
    phases = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in pods["items"]}
    return list(phases.values()) == ["Running"] * REPLICAS or cluster.No((status, phases))


def exactly_its_containers(here):
    """As many containers run as pods say, and those."""
    _, pods = here.request("GET", "/api/v1/pods")
    want = sorted(status["containerID"].split("://")[1]
                  for pod in pods["items"] for status in pod["status"].get("containerStatuses", []))
    runs = here.running_containers()
    return runs == want or cluster.No(f"pods say {want}, there are {runs}")


def show_around(problems, changes):
    """The history of the first problems."""
    for problem in problems[:3]:
        at = re.search(r"at (\d+)", problem)
        if at:
            print(f"---- {problem}", *revision_log.around(changes, int(at[1])), sep="\n")


def check_log(here, writers):
    bus = Bus(here.data)
    log = {name: list(bus.replay(name)) for name in
           ("configmaps", "pods", "replicasets.apps", "deployments.apps")}
    bus.close()
    acks = set().union(*(w.acknowledged for w in writers))
    refused = {key: why for writer in writers for key, why in writer.refused.items()}
    for key, why in list(refused.items())[:10]:
        print(f"refused: {key}: {why}")
    problems = revision_log.acknowledged(log["configmaps"], acks)
    problems += revision_log.refused(log["configmaps"], refused)
    if len(acks) < len(writers):
        problems.append(f"the writers wrote next to nothing: {acks}")
    for changes in log.values():
        problems += revision_log.order(changes)
    problems += revision_log.bindings(log["pods"]) + revision_log.phases(log["pods"])
    problems += revision_log.replicas(log["pods"], log["replicasets.apps"])
    show_around(problems, sum((changes for name, changes in log.items() if name != "configmaps"), []))
    print(f"{len(acks)} acknowledged writes, {len(refused)} refused, "
          f"{sum(w.unknown for w in writers)} without an answer, {sum(map(len, log.values()))} changes in the log, "
          f"{len(problems)} problems")
    return problems


def kill_them(here, rng, kills, pause):
    killed, slowest = {}, []
    for _ in range(kills):
        name, seconds = kill_one(here, rng)
        killed[name] = killed.get(name, 0) + 1
        slowest = sorted(slowest + [(round(seconds, 1), name)])[-5:]
        pause.stop.wait(rng.random())
    print("killed:", json.dumps(killed, sort_keys=True), "slowest to come back:", slowest)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--keep", action="store_true", help="leave the cluster up")
    options = options.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    with cluster.Cluster("chaos", "--history", "0", keep=options.keep) as here:
        def create():
            status, answer = here.request("POST", "/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
            return status in (201, 409) or cluster.No((status, answer))
        here.until(create, BACK_S, "the Deployment is there")
        here.until(lambda: converged(here), CONVERGE_S, "the first rollout")
        workers = [Writer(here, n) for n in range(4)] + [Roller(here)]
        for worker in workers:
            worker.start()
        kill_them(here, rng, options.kills, workers[-1])
        for worker in workers:
            worker.stop.set()
        for worker in workers:
            worker.join(60)
        print(f"{workers[-1].rolls} rolling updates", flush=True)
        problems = sum((worker.problems() for worker in workers), [])
        here.until(lambda: converged(here), CONVERGE_S, "the cluster converges")
        problems += check_log(here, workers[:-1])
        here.until(lambda: exactly_its_containers(here), CONVERGE_S, "exactly the containers of the pods run")
        for problem in problems:
            print("PROBLEM:", problem)
        if problems:
            here.report()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
