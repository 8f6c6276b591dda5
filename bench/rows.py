"""What is measured, one function a row. Each returns a Measured, or raises Skip with the reason.

Figures that targets name are absolute; the peer's stand beside them where it can be run here (etcd), taken
in the same run. `peer_text` quotes what was measured of Kubernetes 1.26 on a two-core machine."""
import http.client
import json
import os
import pathlib
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "e2e"))

from cluster import BUILD, KUBUS, Cluster, free_port  # noqa: E402
from peer import Etcd, run_json  # noqa: E402

CLIENTS = 64


class Skip(Exception):
    pass


class Measured:
    def __init__(self, value, unit, detail="", peer=None, higher=True):
        self.value, self.unit, self.detail = value, unit, detail
        self.peer, self.higher = peer, higher


class Row:
    def __init__(self, name, title, target, kubernetes, run):
        self.name, self.title, self.target = name, title, target
        self.kubernetes, self.run = kubernetes, run


ROWS = []


def row(name, title, target=None, kubernetes=""):
    def register(run):
        ROWS.append(Row(name, title, target, kubernetes, run))
        return run
    return register


def program(name):
    path = BUILD / "bin" / name
    if not path.exists():
        raise Skip(f"{name} is not built")
    return str(path)


class QuietCluster(Cluster):
    def kubus(self, command, *arguments, **options):
        return super().kubus(command, *arguments, **{"stdout": subprocess.DEVNULL, **options})


class Here:
    """What rows share: one cluster without nodes for the API's figures, one etcd."""

    def __init__(self):
        self._api = self._etcd = None

    def api(self):
        if self._api is None:
            self._api = QuietCluster("bench", "--nodes", "0")
            self._api.__enter__()
            self._api.tls()
        return self._api

    def etcd(self):
        if self._etcd is None:
            if not shutil.which("etcd"):
                raise Skip("etcd is not installed")
            self._etcd = Etcd(program("bench_etcd"))
        return self._etcd

    def close(self):
        if self._api:
            self._api.__exit__(None, None, None)


def load(cluster, requests, method="GET", path="/", body=None, connections=CLIENTS, **more):
    command = [program("bench_load"), "--port", str(cluster.port), "--method", method,
               "--cert", os.path.join(cluster.data, "test-client-certificate-data.pem"),
               "--key", os.path.join(cluster.data, "test-client-key-data.pem"),
               "--path", path, "--requests", str(requests), "--connections", str(connections)]
    if body is not None:
        name = os.path.join(cluster.data, "bench-body.json")
        pathlib.Path(name).write_text(json.dumps(body))
        command += ["--body", name]
    for option, value in more.items():
        command += ["--" + option.replace("_", "-"), str(value)]
    result = run_json(command)
    if result["errors"] or not result["complete"]:
        raise Skip(f"{method} {path}: answers were {result['status']}")
    return result


def namespace(cluster, name):
    status, _ = cluster.request("POST", "/api/v1/namespaces",
                                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if status not in (201, 409):
        raise Skip(f"no namespace could be made: {status}")
    return f"/api/v1/namespaces/{name}"


def configmap(prefix):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": prefix + "{n}"},
            "data": {"value": "x" * 256}}


def pod(prefix, scheduler="nobody"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": prefix + "{n}",
                                                           "labels": {"app": "bench"}},
            "spec": {"schedulerName": scheduler,
                     "containers": [{"name": "main", "image": "busybox:latest",
                                     "resources": {"requests": {"cpu": "100m",
                                                                "memory": "64Mi"}}}]}}


# ---- the whole cluster ----

@row("cold-start", "cold start until /readyz says ok", ("<=", 0.25), "3.3 s")
def cold_start(here):
    times = []
    for _ in range(5):
        data, port = tempfile.mkdtemp(prefix="kubus-bench-start-"), free_port()
        begin = time.monotonic()
        up = subprocess.Popen([KUBUS, "up", "--data", data, "--listen", f"127.0.0.1:{port}",
                               "--nodes", "0", "--detach"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            times.append(ready_after(port, begin))
        finally:
            up.wait(30)
            subprocess.run([KUBUS, "down", "--data", data], stdout=subprocess.DEVNULL, check=False)
            shutil.rmtree(data, ignore_errors=True)
    return Measured(statistics.median(times), "s", "median of 5", higher=False)


def ready_after(port, begin):
    context = ssl._create_unverified_context()
    while time.monotonic() - begin < 15:
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.monotonic() - begin
        except OSError:
            time.sleep(0.002)
        finally:
            connection.close()
    raise Skip("not ready within 15 s")


@row("memory", "memory of the idle control plane (RSS, all processes)", ("<=", 40), "476 MB")
def memory(here):
    cluster = here.api()
    time.sleep(5)  # what starting needed is given back three seconds after it
    sizes = {}
    for pid, arguments in cluster.processes("kubus").items():
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                name = arguments[2] if len(arguments) > 2 else arguments[-1]
                if "--plugin" in arguments:
                    name = arguments[arguments.index("--plugin") + 1]
                sizes[f"{name}"] = sizes.get(name, 0) + int(line.split()[1]) / 1024
    detail = ", ".join(f"{name} {size:.1f}" for name, size in sorted(sizes.items()))
    return Measured(sum(sizes.values()), "MB", detail, higher=False)


# ---- the API ----

@row("configmaps", "create ConfigMap (256 B of data)", (">=", 25000), "1,135/s, p99 148 ms")
def configmaps(here):
    cluster = here.api()
    path = namespace(cluster, "bench-cm") + "/configmaps"
    load(cluster, 2000, "POST", path, configmap("warm-"))
    r = load(cluster, 20000, "POST", path, configmap("load-"))
    return Measured(r["per_second"], "/s", f"p99 {r['p99_ms']:.1f} ms",
                    here.etcd().put(20000, CLIENTS, 512)["per_second"])


@row("pods", "create Pod (unscheduled)", (">=", 20000), "650-940/s")
def pods(here):
    cluster = here.api()
    r = load(cluster, 10000, "POST", namespace(cluster, "bench-pods") + "/pods", pod("load-"))
    return Measured(r["per_second"], "/s", f"p99 {r['p99_ms']:.1f} ms")


@row("get", "get one object", (">=", 60000), "2,349/s")
def get(here):
    cluster = here.api()
    path = namespace(cluster, "bench-get") + "/configmaps"
    load(cluster, 1, "POST", path, configmap("one-"), connections=1)
    r = load(cluster, 60000, "GET", path + "/one-0")
    return Measured(r["per_second"], "/s", f"p99 {r['p99_ms']:.1f} ms",
                    here.etcd().get(20000, CLIENTS)["per_second"])


@row("list", "list 10,000 pods, 4 clients", ("<=", 60), "1.8 s a list")
def list_pods(here):
    cluster = here.api()
    path = namespace(cluster, "bench-pods") + "/pods"
    status, first = cluster.request("GET", path + "?limit=1")
    if status != 200 or not first["items"]:
        load(cluster, 10000, "POST", path, pod("load-"))
    r = load(cluster, 40, "GET", path, connections=4)
    megabytes = r["bytes"] / r["requests"] / 1e6
    return Measured(r["p50_ms"], "ms", f"{megabytes:.1f} MB each, {r['bytes'] / r['seconds'] / 1e6:.0f} MB/s",
                    higher=False)


@row("fan-out", "2,000 creates with 50 watchers on them", (">=", 400000),
     "9,051 events/s, p99 4.1 s")
def fan_out(here):
    cluster = here.api()
    path = namespace(cluster, "bench-watch") + "/configmaps"
    r = load(cluster, 2000, "POST", path, configmap("seen-"), watchers=50,
             watch_path=path + "?watch=true&resourceVersion=0", name='"name":"seen-')
    return Measured(r["events_per_second"], "events/s", f"p99 {r['event_p99_ms']:.1f} ms",
                    here.etcd().watch(2000, CLIENTS, 50)["events_per_second"])


@row("delete-collection", "delete 10,000 pods with one deletecollection", ("<=", 1), "> 80 s")
def delete_collection(here):
    cluster = here.api()
    path = namespace(cluster, "bench-delete") + "/pods"
    load(cluster, 10000, "POST", path, pod("gone-"))
    begin = time.monotonic()
    status, _ = cluster.request("DELETE", path + "?gracePeriodSeconds=0", timeout=120)
    if status != 200:
        raise Skip(f"deletecollection: {status}")
    cluster.until(lambda: not cluster.request("GET", path + "?limit=1")[1]["items"], 120, "gone",
                  every=0.01)
    return Measured(time.monotonic() - begin, "s", higher=False)


# ---- scheduling ----

def bind_row(name, what, target, kubernetes, *options):
    @row(name, what, (">=", target), kubernetes)
    def bind(here):
        r = run_json([program("bench_bind"), "--kubus", str(KUBUS), *options])
        return Measured(r["per_second"], "/s", "from the scheduler's start; "
                        f"{r['steady_per_second']:.0f}/s from the first")


bind_row("bind", "bind 10,000 waiting pods of a service on 1,000 nodes (live, durable)", 10000,
         "135/s")
bind_row("bind-constraints", "the same with spread constraints and affinity", 1000, "",
         "--constraints")


@row("deployment", "Deployment of 2,000 replicas until all are bound, 1,000 nodes", ("<=", 0.5),
     "26.7 s")
def deployment(here, replicas=2000, nodes=1000):
    with QuietCluster("bench-deploy", "--nodes", "0", "--hollow-nodes", str(nodes)) as cluster:
        def ready():
            answer = cluster.request("GET", "/api/v1/nodes")[1]["items"]
            return len(answer) == nodes and all(
                any(c["type"] == "Ready" and c["status"] == "True"
                    for c in n.get("status", {}).get("conditions", [])) for n in answer)
        cluster.until(ready, 60, "the hollow nodes are ready", every=0.2)
        namespace(cluster, "bench")
        follower = subprocess.Popen([program("bench_bind"), "--follow", "--data", cluster.data,
                                     "--pods", str(replicas)], text=True, stdout=subprocess.PIPE)
        follower.stdout.readline()
        labels = {"app": "bench"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": pod("")["spec"]["containers"]}}
        begin = time.monotonic()
        status, answer = cluster.request("POST", "/apis/apps/v1/namespaces/bench/deployments", {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "big"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": template}})
        if status != 201:
            raise Skip(f"the Deployment was refused: {answer}")
        end, _ = follower.communicate()
        if follower.returncode != 0:
            raise Skip("not all were bound within a minute")
        return Measured(float(end) - begin, "s", higher=False)


def simulate(times, *arguments):
    """Seconds from the call to the table, the best of some."""
    taken = []
    for _ in range(times):
        begin = time.monotonic()
        subprocess.run([KUBUS, "sim", *arguments], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.monotonic() - begin)
    return min(taken)


@row("simulator", "simulator: one openb trace, FGD", ("<=", 1), "about 10 min (the paper's simulator)")
def simulator(here):
    folder = os.environ.get("KUBUS_OPENB")
    if not folder:
        raise Skip("KUBUS_OPENB names no folder with the openb trace")
    return Measured(simulate(3, "--nodes", f"{folder}/openb_node_list_gpu_node.csv",
                             "--pods", f"{folder}/openb_pod_list_default.csv",
                             "--tune", "1.3", "--seed", "42", "--policy", "FGD"),
                    "s", "from the call to the table, best of 3", higher=False)


@row("simulator-sweep", "simulator: own trace (64 nodes), six policies, ten seeds")
def simulator_sweep(here):
    trace = TOP / "tests" / "data" / "gpu"
    return Measured(simulate(3, "sweep", "--nodes", trace / "nodes.csv", "--pods", trace / "pods.csv",
                             "--tune", "1.3"),
                    "s", "60 runs, best of 3", higher=False)


@row("core", "decisions in the scheduling core alone, 100,000 nodes", (">=", 20000))
def core(here):
    lines = subprocess.run([program("bench_scheduler_core")], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    figures = [json.loads(line) for line in lines]
    plain = next(f for f in figures if f["nodes"] == 100000 and f["templates"] == 1)
    detail = ", ".join(f"{f['nodes']} nodes × {f['templates']} kinds ({f['kind']}): "
                       f"{f['per_second']:.0f}/s" for f in figures)
    return Measured(plain["per_second"], "/s", detail)


# ---- the store ----

def store_row(outstanding, target, kubernetes):
    @row(f"store-{outstanding}", f"durable create in the store, 1 KiB, {outstanding} outstanding",
         (">=", target), kubernetes)
    def store(here):
        r = run_json([program("bench_store"), "--outstanding", str(outstanding), "--json"])
        peer = here.etcd().put(1000 if outstanding == 1 else 5000, outstanding, 1024)
        return Measured(r["per_second"], "/s", f"p99 {r['p99_ms']:.1f} ms", peer["per_second"])


store_row(1, 1500, "etcd 973/s")
store_row(64, 60000, "etcd 4,833/s")
store_row(256, 100000, "etcd 1,184/s")


# ---- containers ----

@row("pod-start", "pod start, decided until the container runs, image present", ("<=", 100),
     "about 1 s")
def pod_start(here, count=15):
    if os.geteuid() != 0:
        raise Skip("containers need root")
    with QuietCluster("bench-pod", "--nodes", "1") as cluster:
        def ready():
            return any(c["type"] == "Ready" and c["status"] == "True"
                       for n in cluster.request("GET", "/api/v1/nodes")[1]["items"]
                       for c in n.get("status", {}).get("conditions", []))
        cluster.until(ready, 60, "the node is ready")
        path, decided, running = namespace(cluster, "bench") + "/pods", {}, {}
        threading.Thread(target=follow_starts, args=(cluster, path, decided, running),
                         daemon=True).start()
        for i in range(count):
            body = pod("", "default-scheduler")
            body["metadata"]["name"] = f"start-{i}"
            body["spec"]["containers"][0]["command"] = ["sleep", "1000"]
            cluster.request("POST", path, body)
            cluster.until(lambda name=f"start-{i}": name in running, 30, "the pod runs", every=0.005)
        spans = sorted((running[n] - decided[n]) * 1e3 for n in running if n in decided)
        return Measured(statistics.median(spans), "ms", f"p50 of {len(spans)}, max {spans[-1]:.0f} ms",
                        higher=False)


def follow_starts(cluster, path, decided, running):
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=cluster.tls())
    connection.request("GET", path + "?watch=true&resourceVersion=0")
    for line in connection.getresponse():
        now, event = time.monotonic(), json.loads(line)["object"]
        name = event["metadata"].get("name")
        if event.get("spec", {}).get("nodeName"):
            decided.setdefault(name, now)
        states = event.get("status", {}).get("containerStatuses", [])
        if states and all("running" in s.get("state", {}) for s in states):
            running.setdefault(name, now)
