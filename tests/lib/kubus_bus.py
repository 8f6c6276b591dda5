"""The bus from Python, for tests: docs/protocol.md in a hundred lines (pyzmq, msgpack)."""
import itertools
import os
import time

import msgpack
import zmq


class CallError(Exception):
    def __init__(self, body):
        super().__init__(f"{body.get('reason')}: {body.get('message')}")
        self.code, self.reason, self.body = body.get("code"), body.get("reason"), body


def run_dir(data):
    """Where a cluster's sockets are: DATA/run, or a short folder named by a hash of DATA."""
    path = os.path.join(os.path.abspath(data), "run")
    if len(path) <= 80:
        return path
    value = 0xCBF29CE484222325
    for byte in os.path.abspath(data).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"/tmp/kubus-{value:016x}"


class Bus:
    def __init__(self, data):
        self.run = run_dir(data)
        self.context = zmq.Context()
        self.sockets = {}
        self.ids = itertools.count(1)

    def close(self):
        self.context.destroy(linger=0)

    def _dealer(self, service):
        if service not in self.sockets:
            socket = self.context.socket(zmq.DEALER)
            socket.connect(f"ipc://{self.run}/{service.replace('/', '~')}.sock")
            self.sockets[service] = socket
        return self.sockets[service]

    def drop(self, service):
        """Forget the connection: after the service was killed, its answers will not come."""
        socket = self.sockets.pop(service, None)
        if socket:
            socket.close(linger=0)

    def call(self, service, method, body=None, timeout=30.0):
        """Call and wait for the answer. CallError when refused, TimeoutError without one."""
        number = next(self.ids)
        socket = self._dealer(service)
        header = {"v": 1, "t": "call", "id": number, "m": method, "from": f"test-{os.getpid()}",
                  "dl": int(timeout * 1000)}
        socket.send_multipart([msgpack.packb(header), msgpack.packb(body or {})])
        deadline = time.monotonic() + timeout
        while socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            frames = socket.recv_multipart()
            answer = msgpack.unpackb(frames[0])
            if answer["id"] != number:
                continue
            result = msgpack.unpackb(frames[1]) if len(frames) > 1 and frames[1] else {}
            if answer["t"] == "err":
                raise CallError(result)
            return result
        self.drop(service)
        raise TimeoutError(f"{service} {method}")

    def replay(self, view, since=0):
        """Every change of a view that the store still has, in order."""
        while True:
            page = self.call("store", "store.replay", {"view": view, "since": since, "limit": 1000},
                             timeout=30)
            yield from page["changes"]
            if not page.get("more"):
                return
            since = page["rev"]
