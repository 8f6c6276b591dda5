"""The bus of Kubus in Python, written from docs/protocol.md alone: pyzmq and msgpack.

    bus = Bus("/path/of/the/cluster's/data", "my-controller")
    bus.follow("configmaps?ns=shop", on_change)       # list, then follow: nothing is missed
    bus.call("api", "object.create", {...}, on_reply)  # or bus.ask(...), which waits
    bus.serve({"greet": lambda body: {"text": "hello " + body["name"]}})
    bus.run()

Everything happens in one thread, in the order in which it arrives. The store and the api may be
killed and come back: calls then fail with Timeout, views list again where they were.
"""
import heapq
import itertools
import os
import time
import uuid

import msgpack
import zmq

VERSION = 1


class CallError(Exception):
    """A refusal, with the reason word of Kubernetes' Status."""

    def __init__(self, body):
        super().__init__(f"{body.get('reason')}: {body.get('message')}")
        self.reason = body.get("reason")
        self.body = body


def run_directory(data):
    path = os.path.join(os.path.abspath(data), "run")
    if len(path) <= 80:
        return path
    digest = 0xCBF29CE484222325
    for byte in os.path.abspath(data).encode():
        digest = ((digest ^ byte) * 0x100000001B3) % 2**64
    return f"/tmp/kubus-{digest:016x}"


class Bus:
    def __init__(self, data, name):
        self.name = name
        self.directory = run_directory(data)
        self.context = zmq.Context()
        self.poller = zmq.Poller()
        self.dealers = {}
        self.calls = {}  # id -> (deadline, on_reply)
        self.timers = []
        self.numbers = itertools.count(1)
        self.views = {}  # topic -> View
        self.events = self.context.socket(zmq.SUB)
        self.events.connect(f"ipc://{self.directory}/store.pub")
        self.poller.register(self.events, zmq.POLLIN)
        self.stopped = False
        self.router = None
        self.methods = {}

    def close(self):
        self.context.destroy(linger=0)

    # ---- time ----

    def after(self, seconds, function):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.numbers), function))

    # ---- calls: section 2 ----

    def _dealer(self, service):
        if service not in self.dealers:
            dealer = self.context.socket(zmq.DEALER)
            dealer.connect(f"ipc://{self.directory}/{service.replace('/', '~')}.sock")
            self.poller.register(dealer, zmq.POLLIN)
            self.dealers[service] = dealer
        return self.dealers[service]

    def call(self, service, method, body, on_reply, timeout=10.0):
        """on_reply(error, result) is called once: error is a CallError or None."""
        number = next(self.numbers)
        header = {"v": VERSION, "t": "call", "id": number, "m": method, "from": self.name,
                  "dl": int(timeout * 1000)}
        self.calls[number] = on_reply
        self._dealer(service).send_multipart([msgpack.packb(header), msgpack.packb(body)])
        self.after(timeout, lambda: self._end(number, CallError(
            {"reason": "Timeout", "message": f"{service} did not answer {method}"}), None))

    def ask(self, service, method, body, timeout=10.0):
        """The same, waiting for the answer; events and other answers are handled meanwhile."""
        answer = []
        self.call(service, method, body, lambda *reply: answer.append(reply), timeout)
        while not answer:
            self.step()
        error, result = answer[0]
        if error:
            raise error
        return result

    def _end(self, number, error, result):
        on_reply = self.calls.pop(number, None)
        if on_reply:
            on_reply(error, result)

    def _answer(self, frames):
        header = msgpack.unpackb(frames[0])
        body = msgpack.unpackb(frames[1]) if len(frames) > 1 and frames[1] else {}
        if header["t"] == "ok":
            self._end(header["id"], None, body)
        elif header["t"] == "err":
            self._end(header["id"], CallError(body), None)

    # ---- serving: sections 2 and 3 ----

    def serve(self, methods):
        """Answer calls: {method: function of the body that returns the result, or raises}."""
        self.methods = methods
        path = f"{self.directory}/{self.name.replace('/', '~')}.sock"
        if os.path.exists(path):
            os.unlink(path)  # of one that was killed
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind(f"ipc://{path}")
        self.poller.register(self.router, zmq.POLLIN)
        self.instance = str(uuid.uuid4())
        self._register()

    def _register(self):
        endpoint = f"ipc://{self.directory}/{self.name.replace('/', '~')}.sock"
        self.call("kernel", "kernel.register",
                  {"name": self.name, "pid": os.getpid(), "instance": self.instance, "call": endpoint,
                   "ready": True, "started_ms": 0},
                  lambda error, result: self.after(1.0, self._register if error else self._beat))

    def _beat(self):
        def beaten(error, result):
            if error and error.reason == "NotFound":  # a new kernel
                self._register()
                return
            if result and result.get("order") == "stop":
                self.stopped = True
            self.after(1.0, self._beat)
        self.call("kernel", "kernel.beat", {"name": self.name, "instance": self.instance, "ready": True,
                                            "gauges": {}}, beaten, timeout=2.0)

    def _called(self, frames):
        caller, header = frames[0], msgpack.unpackb(frames[1])
        if header["t"] != "call":
            return
        answer = {"v": VERSION, "id": header["id"], "t": "ok"}
        try:
            body = msgpack.unpackb(frames[2]) if len(frames) > 2 and frames[2] else {}
            result = self.methods[header["m"]](body)
        except Exception as error:  # whatever it is, the caller shall hear of it
            answer["t"] = "err"
            result = {"code": 500, "reason": "InternalError",
                      "message": f"{header['m']}: {type(error).__name__}: {error}"}
        self.router.send_multipart([caller, msgpack.packb(answer), msgpack.packb(result)])

    # ---- views: section 5 ----

    def follow(self, view, on_change, on_synced=None):
        """on_change(op, key, rev, doc) for each object, then for each change; op is put or del."""
        self.views[view.encode() + b"\0"] = View(self, view, on_change, on_synced)
        self.events.subscribe(view.encode() + b"\0")

    def step(self):
        """Wait for something, and handle all that is there."""
        now = time.monotonic()
        wait = max(0.0, self.timers[0][0] - now) if self.timers else 1.0
        for socket, _ in self.poller.poll(int(wait * 1000) + 1):
            while socket.poll(0):
                frames = socket.recv_multipart()
                if socket is self.router:
                    self._called(frames)
                elif socket is self.events:
                    self.views[frames[0]].event(frames)
                else:
                    self._answer(frames)
        while self.timers and self.timers[0][0] <= time.monotonic():
            heapq.heappop(self.timers)[2]()

    def run(self):
        while not self.stopped:
            self.step()


class View:
    """Follows as section 5 says: `have` is how far we are; None while a listing is under way."""

    def __init__(self, bus, name, on_change, on_synced):
        self.bus, self.name, self.on_change, self.on_synced = bus, name, on_change, on_synced
        self.db = None
        self.have = None
        self.waiting = False  # for a list or a replay: events are looked at again afterwards
        self.known = {}       # key -> rev
        self._list([], None)

    # -- listing: page by page, all of one snapshot --

    def _list(self, items, page):
        self.have, self.waiting = None, True
        body = {"view": self.name, "limit": 500}
        if page:
            body |= {"after": page["items"][-1]["key"], "rev": page["rev"]}
        self.bus.call("store", "store.list", body, lambda error, page: self._listed(
            items, error, page))

    def _listed(self, items, error, page):
        if error:
            self.bus.after(0.2, lambda: self._list([], None))
            return
        items = items + page["items"]
        if page.get("more"):
            self._list(items, page)
            return
        self.db, self.have, self.waiting = page["db"], page["rev"], False
        there = {item["key"] for item in items}
        for key in [key for key in self.known if key not in there]:
            self._apply({"op": "del", "key": key, "rev": page["rev"], "doc": None})
        for item in items:
            if self.known.get(item["key"]) != item["rev"]:
                self._apply({"op": "put", **item})
        if self.on_synced:
            self.on_synced(self.have)

    # -- following --

    def event(self, frames):
        header = msgpack.unpackb(frames[1])
        if self.waiting or header["v"] != VERSION:
            return  # a beat within two seconds says whether something was missed
        if header["db"] != self.db:
            self._list([], None)
        elif header["t"] == "event":
            if header["prev"] > self.have:
                self._replay()
            elif header["rev"] > self.have:
                self._changes(msgpack.unpackb(frames[2])["changes"], header["rev"])
        elif header["t"] == "beat":
            if header["rev"] > self.have:
                self._replay()
            else:
                self.have = max(self.have, header["now"])

    def _replay(self):
        self.waiting = True
        self.bus.call("store", "store.replay", {"view": self.name, "since": self.have},
                      self._replayed)

    def _replayed(self, error, page):
        if error:
            self.bus.after(0.2, lambda: self._list([], None))
            return
        self.waiting = False
        if page["db"] != self.db:
            self._list([], None)
            return
        self._changes(page["changes"], page["rev"])
        if page.get("more"):
            self._replay()

    def _changes(self, changes, rev):
        for change in changes:
            if change["rev"] > self.have:
                self._apply(change)
        self.have = max(self.have, rev)
        if self.on_synced:
            self.on_synced(self.have)

    def _apply(self, change):
        if change["op"] == "put":
            self.known[change["key"]] = change["rev"]
        else:
            self.known.pop(change["key"], None)
        self.on_change(change["op"], change["key"], change["rev"], change["doc"])
