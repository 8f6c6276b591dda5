"""The peer that can be run here: etcd from Debian's packages, on a folder of its own."""
import json
import shutil
import socket
import subprocess
import tempfile
import time


def run_json(command, timeout=300):
    """Run a program that prints a line of JSON; that line, parsed."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Etcd:
    def __init__(self, client):
        self.client = client

    def _run(self, *arguments):
        """On a fresh database, so that each figure stands alone."""
        data, port, peer = tempfile.mkdtemp(prefix="kubus-bench-etcd-"), free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        server = subprocess.Popen(
            ["etcd", "--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url,
             "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--log-level", "error"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait(port)
            return [run_json([self.client, "--port", str(port), *map(str, a)])
                    for a in arguments][-1]
        finally:
            server.terminate()
            server.wait()
            shutil.rmtree(data, ignore_errors=True)

    @staticmethod
    def _wait(port):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                time.sleep(0.5)  # it elects itself
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("etcd did not start")

    def put(self, requests, outstanding, value_bytes):
        return self._run(["--requests", requests, "--outstanding", outstanding, "--value-bytes",
                          value_bytes])

    def get(self, requests, outstanding):
        return self._run(["--requests", requests, "--outstanding", 64],
                         ["--op", "get", "--requests", requests, "--outstanding", outstanding])

    def watch(self, requests, outstanding, watchers):
        return self._run(["--requests", requests, "--outstanding", outstanding, "--watchers",
                          watchers, "--value-bytes", 512])
