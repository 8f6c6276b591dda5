"""Stories told with kubectl: commands, streams, terminals, and a test case on a cluster (cluster.py).

Environment: that of cluster.py, and KUBUS_E2E_KEEP=1, leave the cluster up after a failure. What only newer
kubectls can do is marked with needs_kubectl; all else works with any since 1.20. Nothing here waits for a
fixed time: every wait is for a condition, with a deadline.
"""
import contextlib
import fcntl
import functools
import hashlib
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios
import threading
import time
import unittest

import cluster

TOP = str(cluster.TOP)
KUBUS = str(cluster.KUBUS)
KUBECTL = cluster.KUBECTL
SKIPPED = 77  # the exit code that ctest takes as "skipped"

# A container that stays until it is told to stop, and then stops at once.
STAY = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


class Failure(AssertionError):
    pass


@functools.cache
def kubectl_version():
    """The kubectl's (major, minor)."""
    done = subprocess.run([KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    version = json.loads(done.stdout)["clientVersion"]
    return tuple(int(re.match(r"\d+", version[part])[0]) for part in ("major", "minor"))


def needs_kubectl(major, minor, what):
    """Skip the test with a kubectl that is older than the first that can do `what`."""
    def decorate(test):
        @functools.wraps(test)
        def run(self, *args):
            if kubectl_version() < (major, minor):
                self.skipTest("{} needs kubectl {}.{}, this is {}.{}".format(what, major, minor, *kubectl_version()))
            return test(self, *args)
        return run
    return decorate


class Result:
    """What a command printed and how it ended."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def __str__(self):
        return f"$ {' '.join(self.args)}\n[exit {self.code}]\n{self.out}{self.err}"

    @property
    def lines(self):
        return self.out.splitlines()


class Stream:
    """A command that goes on printing; its lines are collected as they come."""

    def __init__(self, args, env):
        self.args = args
        self.process = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)  # the end
            self.changed.notify_all()

    def expect(self, pattern, timeout=90, after=0):
        """Wait for a line that matches; returns its index."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for i, line in enumerate(self.lines[after:], after):
                    if line is None:
                        raise Failure(f"$ {' '.join(self.args)}\nended without /{pattern}/:\n{self}")
                    if re.search(pattern, line):
                        return i
                if not self.changed.wait(max(0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise Failure(f"$ {' '.join(self.args)}\nno line /{pattern}/ within {timeout} s:\n{self}")

    def wait_end(self, timeout=90):
        code = self.process.wait(timeout)
        self.thread.join(timeout)
        return code

    def __str__(self):
        return "\n".join(line for line in self.lines if line is not None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class Terminal:
    """A command on a terminal of its own, as a person would run it."""

    def __init__(self, args, env, rows=33, columns=101):
        self.args, self.text = args, ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(args[0], args, env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.fd, text.encode())

    def _read(self, deadline):
        """Read what is there; False at the end."""
        ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise Failure(f"$ {' '.join(self.args)}\nsays nothing more:\n{self.text}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, timeout=90):
        deadline = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            if not self._read(deadline):
                raise Failure(f"$ {' '.join(self.args)}\nended without /{pattern}/:\n{self.text}")

    def wait_end(self, timeout=90):
        deadline = time.monotonic() + timeout
        with contextlib.suppress(Failure):
            while self._read(deadline):
                pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def until(condition, timeout=120, what="the condition", every=0.1):
    """Poll until `condition()` is true; returns its value. A Failure raised by it counts as not yet."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except Failure as failure:
            last = failure
        if time.monotonic() >= deadline:
            raise Failure(f"{what} did not come true within {timeout} s" + (f"; last:\n{last}" if last else ""))
        threading.Event().wait(every)


class Cluster:
    """A running cluster and the commands on it; each returns a Result."""

    def __init__(self, name, *options, images=()):
        for image in images:
            options += ("--image", image)
        self.here = cluster.Cluster(name, *options)
        self.home = tempfile.mkdtemp(prefix="kubus-home-")
        self.env = dict(os.environ, HOME=self.home, LC_ALL="C.UTF-8", KUBECONFIG=self.here.kubeconfig)

    @property
    def data(self):
        return self.here.data

    def __enter__(self):
        self.here.__enter__()
        return self

    def __exit__(self, *exc):
        self.here.__exit__(None, None, None)
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- commands ----

    def run(self, args, input=None, timeout=180, check=True, env=None):
        args = list(map(str, args))
        env = dict(self.env, **(env or {}))
        try:
            p = subprocess.run(args, input=input, stdin=None if input is not None else subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=timeout, env=env)
        except subprocess.TimeoutExpired as e:
            raise Failure(f"$ {' '.join(args)}\ndid not end within {timeout} s:\n{e.stdout}{e.stderr}") from None
        result = Result(args, p.returncode, p.stdout, p.stderr)
        if check and result.code != 0:
            raise Failure(str(result))
        return result

    def kubus(self, *args, **options):
        return self.run([KUBUS, *args], **options)

    def kubectl(self, *args, **options):
        return self.run([KUBECTL, *args], **options)

    def stream(self, *args):
        return Stream([KUBECTL, *map(str, args)], self.env)

    def terminal(self, *args, **options):
        return Terminal([KUBECTL, *map(str, args)], self.env, **options)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").out)

    def apply(self, *objects, namespace=None, command="apply"):
        """kubectl apply (or create) of objects given as dicts."""
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        where = ["-n", namespace] if namespace else []
        return self.kubectl(command, *where, "-f", "-", input=body)

    def actors(self):
        """name → what kubusd knows of it."""
        return {a["name"]: a for a in self.here.actors()}

    def show(self):
        """Everything that helps to understand a failure."""
        for args in ([KUBUS, "status", "--data", self.data],
                     [KUBECTL, "get", "all,nodes", "-A", "-o", "wide"],
                     [KUBECTL, "get", "events", "-A", "--sort-by=.metadata.creationTimestamp"]):
            with contextlib.suppress(Failure):
                print(self.run(args, check=False, timeout=20), flush=True)
        self.here.show_logs()


# ---- objects ----

def pod(name, command=None, image="busybox", labels=None, **spec):
    container = {"name": "main", "image": image, "command": command or STAY, "imagePullPolicy": "IfNotPresent"}
    container.update(spec.pop("container", {}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 2, **spec}}


def deployment(name, replicas=1, command=None, image="busybox", spec=None, **pod_spec):
    template = pod(name, command, image, **pod_spec)
    template["metadata"] = {"labels": {"app": name}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": template["metadata"], "spec": template["spec"]}, **(spec or {})}}


def make_image(path, name, files=None):
    """Write an OCI archive with busybox and some files: {path: text}."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise unittest.SkipTest("no static busybox on this machine")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()

    def tar_of(members):
        buf = io.BytesIO()
        with tarfile.open(fileobj=buf, mode="w") as tar:
            for member, data in members:
                tar.addfile(member, io.BytesIO(data) if data is not None else None)
        return buf.getvalue()

    def entry(name, data=None, kind=tarfile.REGTYPE, mode=0o755, link=""):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data or b"")
        return info, data

    with open(busybox, "rb") as f:
        members = [entry(d, kind=tarfile.DIRTYPE) for d in ("bin", "etc", "tmp")] + [entry("bin/busybox", f.read())]
    members += [entry(f"bin/{a}", kind=tarfile.SYMTYPE, link="busybox") for a in applets if a != "busybox"]
    members += [entry(p.lstrip("/"), t.encode(), mode=0o644) for p, t in (files or {}).items()]
    layer = tar_of(members)
    blobs = {}

    def blob(media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer_ref = blob("application/vnd.oci.image.layer.v1.tar", layer)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {"architecture": machine, "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": [layer_ref["digest"]]}}
    config_ref = blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config_ref, "layers": [layer_ref]}
    ref = blob("application/vnd.oci.image.manifest.v1+json", json.dumps(manifest).encode())
    ref["annotations"] = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [ref]}
    top = [entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', mode=0o644),
           entry("index.json", json.dumps(index).encode(), mode=0o644),
           entry("blobs", kind=tarfile.DIRTYPE), entry("blobs/sha256", kind=tarfile.DIRTYPE)]
    top += [entry(f"blobs/sha256/{d}", data, mode=0o644) for d, data in blobs.items()]
    with open(path, "wb") as f:
        f.write(tar_of(top))
    return path


# ---- tests ----

class Case(unittest.TestCase):
    """A test with the module's cluster as `self.c` and a namespace of its own as `self.ns`."""
    cluster = None
    maxDiff = None
    longMessage = True
    counter = 0

    def setUp(self):
        self.c = Case.cluster
        Case.counter += 1
        words = re.sub(r"[^a-z0-9]+", "-", self._testMethodName.removeprefix("test_").lower())[:40].strip("-")
        self.ns = f"{words}-{Case.counter}"
        self.c.kubectl("create", "namespace", self.ns)
        self.addCleanup(self.c.kubectl, "delete", "namespace", self.ns, "--wait=false", check=False)

    def k(self, *args, **options):
        """kubectl in this test's namespace."""
        return self.c.kubectl("-n", self.ns, *args, **options)

    def out(self, *args, **options):
        return self.k(*args, **options).out

    def fails(self, *args, **options):
        """kubectl that must fail; returns the result."""
        result = self.k(*args, check=False, **options)
        if result.code == 0:
            raise Failure(f"should have failed:\n{result}")
        return result

    def get(self, *args):
        return self.c.get("-n", self.ns, *args)

    def exec(self, pod, *command, container=None):
        """What a command in a container prints; by kubus, which needs no kubectl of a certain age."""
        where = ["-c", container] if container else []
        return self.c.kubus("exec", "-n", self.ns, *where, pod, "--", *command).out

    def events(self, pod):
        """What was told about a pod."""
        if kubectl_version() < (1, 26):
            return self.out("get", "events", "--field-selector", f"involvedObject.name={pod}")
        return self.out("events", f"--for=pod/{pod}")

    def apply(self, *objects, **options):
        return self.c.apply(*objects, namespace=self.ns, **options)

    def path(self, resource, path):
        """A jsonpath of an object, as text."""
        return self.out("get", *resource.split("/"), "-o", f"jsonpath={{{path}}}")

    def until_path(self, resource, path, want, timeout=120):
        return until(lambda: self.path(resource, path) == str(want), timeout,
                     f"{resource} {path} = {want} (it is {self.path(resource, path)!r}): that")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        out = super().run(result)
        if len(result.failures) + len(result.errors) > before and Case.cluster:
            print(f"\n==== {self.id()} failed; the cluster:", flush=True)
            Case.cluster.show()
        return out


def main(name, *options, images=None):
    """Run the calling module's tests on one cluster started with `options`. `images` is a function of a folder."""
    for problem, message in ((os.geteuid() != 0, "containers need root"),
                             (not os.access(KUBUS, os.X_OK), f"{KUBUS} is not built"),
                             (not shutil.which(KUBECTL), "there is no kubectl")):
        if problem:
            print(f"skipped: {message}")
            sys.exit(SKIPPED)
    folder = tempfile.mkdtemp(prefix="kubus-images-")
    try:
        with Cluster(name, *options, images=images(folder) if images else ()) as running:
            Case.cluster = running
            program = unittest.main(module="__main__", exit=False, verbosity=2)
            failed = not program.result.wasSuccessful()
            running.here.keep = failed and bool(os.environ.get("KUBUS_E2E_KEEP"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)
