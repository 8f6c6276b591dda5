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
import signal
import sys
import threading
import time

import cluster
import revision_log
from kubus_bus import Bus, CallError

REPLICAS = 6
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


class Writer(threading.Thread):
    """Creates ConfigMaps one after the other, and keeps what it was told about each."""

    def __init__(self, here, number):
        super().__init__(daemon=True)
        self.here, self.number = here, number
        self.acknowledged, self.stop, self.unknown = set(), threading.Event(), 0

    def run(self):
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
                continue
            if status == 201:
                rev = int(answer["metadata"]["resourceVersion"])
                self.acknowledged.add((f"configmaps/default/{name}", rev))
            elif status < 500 and status != 429:
                raise AssertionError(f"create was answered with {status}: {answer}")


class Roller(threading.Thread):
    """Changes the Deployment's template again and again: a rolling update is always under way."""

    def __init__(self, here):
        super().__init__(daemon=True)
        self.here, self.stop, self.rolls = here, threading.Event(), 0

    def run(self):
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
    """Kill an actor and wait until kubusd has it back. Its name."""
    actors = [a for a in here.actors() if a["state"] == "ready" and a["pid"] > 1]
    victim = rng.choice(actors + [{"name": "kernel", "pid": here.kernel_pid()}])
    os.kill(victim["pid"], signal.SIGKILL)

    def back():
        if victim["name"] == "kernel":
            return here.kernel_pid() not in (None, victim["pid"]) and here.actors() is not None
        return any(a["name"] == victim["name"] and a["pid"] != victim["pid"] and
                   a["state"] == "ready" for a in here.actors())
    here.until(back, 60, f"{victim['name']} is back after kill -9")
    return victim["name"]


def converged(here):
    status, web = here.request("GET", "/apis/apps/v1/namespaces/default/deployments/web")
    if status != 200 or web["metadata"]["generation"] != web["status"].get("observedGeneration"):
        return False
    state = web["status"]
    if any(state.get(k) != REPLICAS for k in ("replicas", "updatedReplicas", "availableReplicas")):
        return False
    _, pods = here.request("GET", "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb")
    return len(pods["items"]) == REPLICAS and all(
        pod["status"].get("phase") == "Running" for pod in pods["items"])


def container_ids(pods):
    return sorted(status["containerID"].split("://")[1]
                  for pod in pods for status in pod["status"].get("containerStatuses", []))


def check_log(here, writers):
    bus = Bus(here.data)
    log = {name: list(bus.replay(name)) for name in
           ("configmaps", "pods", "replicasets.apps", "deployments.apps")}
    bus.close()
    acks = set().union(*(w.acknowledged for w in writers))
    problems = revision_log.acknowledged(log["configmaps"], acks)
    for changes in log.values():
        problems += revision_log.order(changes)
    problems += revision_log.bindings(log["pods"]) + revision_log.phases(log["pods"])
    problems += revision_log.replicas(log["pods"], log["replicasets.apps"])
    print(f"{len(acks)} acknowledged writes, {sum(map(len, log.values()))} changes in the log, "
          f"{len(problems)} problems")
    return problems


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--keep", action="store_true", help="leave the cluster up")
    options = options.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    with cluster.Cluster("chaos", "--history", "0", keep=options.keep) as here:
        status, answer = here.request("POST", "/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
        assert status == 201, answer
        here.until(lambda: converged(here), 60, "the first rollout")
        writers = [Writer(here, n) for n in range(4)]
        roller = Roller(here)
        for thread in writers + [roller]:
            thread.start()
        killed = {}
        for kill in range(options.kills):
            name = kill_one(here, rng)
            killed[name] = killed.get(name, 0) + 1
            roller.stop.wait(rng.random())
        for thread in writers + [roller]:
            thread.stop.set()
        for thread in writers + [roller]:
            thread.join(60)
        print("killed:", json.dumps(killed, sort_keys=True), "rolls:", roller.rolls, flush=True)
        here.until(lambda: converged(here), 120, "the cluster converges")
        problems = check_log(here, writers)
        _, pods = here.request("GET", "/api/v1/pods")
        here.until(lambda: here.running_containers() == container_ids(pods["items"]), 60,
                   "exactly the containers of the pods run")
    for problem in problems:
        print("PROBLEM:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
