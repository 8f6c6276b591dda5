"""Controllers as processes under kill -9: a kernel, a store, an api and the controllers. Whatever is killed while
Deployments are scaled and rolled, in the end there are exactly the pods that were asked for, and a deleted
namespace leaves nothing behind."""
import os
import pathlib
import random
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "lib")]

from ports import free_port  # noqa: E402
from processes import ProcessTest  # noqa: E402

CONTROLLERS = ("replicaset", "deployment", "namespace", "garbagecollector", "serviceaccount")
STEPS = 20


def deployment(name, replicas, image):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "100%"}},
                     "template": {"metadata": {"labels": labels},
                                  "spec": {"containers": [{"name": "c", "image": image}]}}}}


class Controllers(ProcessTest):
    def setUp(self):
        self.seed = int(os.environ.get("KUBUS_TEST_SEED", random.randrange(2**32)))
        print(f"seed: KUBUS_TEST_SEED={self.seed}")
        self.random = random.Random(self.seed)
        actors = {"store": ["actor", "store"],
                  "api": ["actor", "api", "--listen", f"127.0.0.1:{free_port()}"]}
        actors |= {name: ["actor", "controller", "--plugin", name] for name in CONTROLLERS}
        self.start("controllers", actors)
        self.until(lambda: self.object_call("object.create", "namespaces", "", doc={
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}), "the namespace is made")

    def objects(self, view):
        return self.bus.call("store", "store.list", {"view": view}, timeout=3)["items"]

    def pods(self, app):
        return [p["doc"] for p in self.objects("pods?ns=shop") if p["doc"]["metadata"]["labels"].get("app") == app]

    def exactly(self, wanted):
        for app, (replicas, image) in wanted.items():
            pods = self.pods(app)
            if len(pods) != replicas or any(p["spec"]["containers"][0]["image"] != image or
                                            "deletionTimestamp" in p["metadata"] for p in pods):
                return False
        return True

    def test_kills_while_scaling_and_rolling_leave_exactly_what_was_asked_for(self):
        wanted = {}
        for app in ("a", "b", "c"):
            wanted[app] = (10, "x:0")
            self.until(lambda app=app: self.object_call("object.create", "deployments.apps", "shop",
                                                 doc=deployment(app, 10, "x:0")), "the deployment is made")
        # Few of each, for the kernel restarts what dies often ever later.
        victims = ["store", "api", *CONTROLLERS] * 3 + ["replicaset", "deployment"] * 2
        for _ in range(STEPS):
            app = self.random.choice("abc")
            wanted[app] = (self.random.randrange(30), f"x:{self.random.randrange(3)}")
            patch = {"spec": {"replicas": wanted[app][0], "template": {"spec": {"containers": [
                {"name": "c", "image": wanted[app][1]}]}}}}
            self.until(lambda: self.object_call("object.patch", "deployments.apps", "shop", name=app, type="merge",
                                         patch=patch), "the deployment is changed")
            victim = victims.pop(self.random.randrange(len(victims)))
            self.until(lambda: self.kill(victim) or True, "something is killed")
        self.until(lambda: self.exactly(wanted), "exactly the pods that were asked for", timeout=120)
        self.until(self.all_ready, "all actors are back")
        owners = {o["doc"]["metadata"]["uid"] for o in self.objects("replicasets.apps?ns=shop")}
        for pod in self.objects("pods?ns=shop"):
            self.assertIn(pod["doc"]["metadata"]["ownerReferences"][0]["uid"], owners)

        self.object_call("object.delete", "deployments.apps", "shop", name="a")
        self.until(lambda: not self.pods("a"), "the garbage collector takes pods of a deleted deployment")
        self.kill("namespace")
        self.object_call("object.delete", "namespaces", "", name="shop")
        self.until(lambda: not any(o["key"] == "namespaces//shop" for o in self.objects("namespaces")),
                   "the namespace goes", timeout=120)
        for resource in ("pods", "replicasets.apps", "deployments.apps", "serviceaccounts", "configmaps", "events"):
            self.assertEqual(self.objects(f"{resource}?ns=shop"), [], resource)


if __name__ == "__main__":
    unittest.main()
