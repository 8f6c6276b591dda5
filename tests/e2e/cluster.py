"""A whole cluster for a test: up before, down after, and what a user would use in between.

Environment: KUBUS_BUILD, the folder of the build; KUBECTL, the kubectl to use (default: the one in PATH)."""
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus, CallError  # noqa: E402
from ports import free_port  # noqa: E402

BUILD = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build"))
KUBUS = BUILD / "bin" / "kubus"
KUBECTL = os.environ.get("KUBECTL", "kubectl")
if shutil.which(KUBECTL) is None:
    print(f"skipped: no {KUBECTL} on PATH, and no package of it in this release; set KUBECTL to one")
    sys.exit(77)


# What is printed shows where a test was when it was stopped for its time.
sys.stdout.reconfigure(line_buffering=True)


class No:
    """A condition's "not yet", with what it saw instead."""

    def __init__(self, saw):
        self.saw = saw

    def __bool__(self):
        return False

    def __repr__(self):
        return str(self.saw)


class Cluster:
    """`with Cluster("heal", "--nodes", "2") as here:` — further arguments are those of `kubus up`."""

    def __init__(self, name, *options, keep=False):
        self.data = tempfile.mkdtemp(prefix=f"kubus-{name}-")
        self.port, self.options, self.keep = free_port(), options, keep
        self.kubeconfig = os.path.join(self.data, "kubeconfig")
        self.bus = None

    def __enter__(self):
        try:
            self.up()
        except BaseException as error:
            print(f"FAILED to come up: {error}", flush=True)
            self.report()
            self.down()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            print(f"FAILED: {error}", flush=True)
            self.report()
        if self.keep:
            print(f"the cluster stays: {KUBUS} status --data {self.data}")
        else:
            self.down()
            shutil.rmtree(self.data, ignore_errors=True)

    # ---- life ----

    def up(self):
        self.kubus("up", "--listen", f"127.0.0.1:{self.port}", "--detach", *self.options)
        self.bus = Bus(self.data)

    def down(self):
        if self.bus:
            self.bus.close()
            self.bus = None
        subprocess.run([KUBUS, "down", "--data", self.data], timeout=300, check=False,
                       stdout=subprocess.DEVNULL)

    # ---- what helps to understand a failure from the output alone ----

    def report(self):
        """Who runs and how, what the objects say, the ends of all logs; bounded, and never fails."""
        for part in (self.show_machine, self.show_actors, self.show_processes, self.show_objects,
                     self.show_logs):
            try:
                part()
            except Exception as error:  # pylint: disable=broad-except
                print(f"({part.__name__}: {error!r})")
        sys.stdout.flush()

    def show_machine(self):
        load = pathlib.Path("/proc/loadavg").read_text().split()
        disk = shutil.disk_usage(self.data)
        memory = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
        print(f"---- machine: {os.cpu_count()} processors, load {' '.join(load[:3])}, "
              f"{memory['MemAvailable'].strip()} of memory and {disk.free >> 20} MiB of disk free")

    def show_actors(self):
        print("---- actors, as kubusd has them")
        status = Bus(self.data).call("kernel", "kernel.status", timeout=5)
        print(f"kernel pid={status['pid']}")
        for a in status["actors"]:
            print(f"{a['name']:24} {a['state']:9} pid={a['pid']} restarts={a['restarts']} "
                  f"ready_ms={a.get('ready_ms')} {a['message']}")

    def show_processes(self):
        print("---- processes, where they are, processor seconds")
        for pid, arguments in sorted(self.processes("").items()):
            try:
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                where = pathlib.Path(f"/proc/{pid}/wchan").read_text()
            except OSError:
                continue
            seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            print(f"{pid:8} {stat[0]} {seconds:8.2f} {where:20} {' '.join(arguments)[:160]}")

    def show_objects(self):
        bus = Bus(self.data)
        for view in ("nodes", "deployments.apps", "replicasets.apps", "pods"):
            items = bus.call("store", "store.list", {"view": view}, timeout=5)["items"]
            print(f"---- {view}: {len(items)}")
            for item in items[:40]:
                meta, spec, status = (item["doc"].get(k, {}) for k in ("metadata", "spec", "status"))
                words = {"node": spec.get("nodeName"), "deleted": meta.get("deletionTimestamp"),
                         "want": spec.get("replicas"), "phase": status.get("phase"),
                         "counts": {k: v for k, v in status.items() if isinstance(v, int)} or None}
                print(f"{item['key']} at {item['rev']}",
                      *(f"{k}={v}" for k, v in words.items() if v is not None))
                for c in status.get("conditions", []):
                    if c["status"] != "True":
                        print(f"    {c['type']}={c['status']} {c.get('reason', '')} {c.get('message', '')}")
                for c in status.get("containerStatuses", []):
                    print(f"    {c['name']} {c.get('state')} restarts={c.get('restartCount')} "
                          f"{c.get('containerID', '')[-64:]}")

    def show_logs(self, lines=30):
        for log in sorted(pathlib.Path(self.data, "logs").glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()
            tail = tail[-lines * (4 if log.name == "kernel.log" else 1):]
            print(f"---- {log.name}", *(line[:400] for line in tail), sep="\n")

    # ---- what a user uses ----

    def kubus(self, command, *arguments, **options):
        return subprocess.run([KUBUS, command, *arguments, "--data", self.data], check=True,
                              text=True, timeout=300, **options)

    def kubectl_command(self, *arguments):
        return [KUBECTL, "--kubeconfig", self.kubeconfig, *arguments]

    def kubectl(self, *arguments, stdin=None, check=True, timeout=180, env=None):
        """Run kubectl; its standard output, or with check=False the finished process."""
        done = subprocess.run(self.kubectl_command(*arguments), input=stdin, text=True,
                              capture_output=True, timeout=timeout, env=env)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout if check else done

    def get(self, *arguments):
        """The object, or list, that kubectl gets."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def tls(self):
        if not hasattr(self, "_tls"):
            config = json.loads(subprocess.run(
                self.kubectl_command("config", "view", "--raw", "-o", "json"), check=True,
                capture_output=True).stdout)
            import base64
            pem = {}
            for key, entry in (("certificate-authority-data", config["clusters"][0]["cluster"]),
                               ("client-certificate-data", config["users"][0]["user"]),
                               ("client-key-data", config["users"][0]["user"])):
                pem[key] = os.path.join(self.data, f"test-{key}.pem")
                with open(os.open(pem[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                    f.write(base64.b64decode(entry[key]))
            self._tls = ssl.create_default_context(cafile=pem["certificate-authority-data"])
            self._tls.load_cert_chain(pem["client-certificate-data"], pem["client-key-data"])
        return self._tls

    def request(self, method, path, body=None, content_type="application/json", timeout=30):
        """One HTTPS request: (status, parsed answer). OSError when there was no whole answer."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout,
                                                 context=self.tls())
        try:
            payload = json.dumps(body) if body is not None else None
            connection.request(method, path, payload, {"Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    # ---- waiting and looking ----

    def until(self, condition, timeout, what, every=0.05):
        """Wait until the condition holds; its value. AssertionError after `timeout` seconds, with what
        the condition last answered, or raised."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                last = condition()
                if last:
                    return last
            except (OSError, TimeoutError, CallError, KeyError, TypeError) as error:
                last = error
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s: {what}; last: {last!r}")
            time.sleep(every)

    def kernel(self):
        return self.bus.call("kernel", "kernel.status", timeout=2)

    def actors(self):
        return self.kernel()["actors"]

    def kernel_pid(self):
        return self.kernel().get("pid")

    def processes(self, word):
        """Command lines of this cluster's processes that have `word` in them: {pid: [argument]}."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if word in arguments[0] and any(self.data in a for a in arguments):
                found[int(entry.name)] = arguments
        return found

    def running_containers(self):
        """The ids of the containers that have a shim, sorted; one that runs twice is there twice."""
        ids = []
        for arguments in self.processes("kubus-shim").values():
            ids += [part for part in arguments[1:] if len(part) == 64][:1]
        return sorted(ids)
