"""The gateway over HTTPS, with a real store behind it: reads, chunks, watches, who may do what."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))

from kubus_bus import Bus  # noqa: E402
from ports import free_port  # noqa: E402

KUBUS = pathlib.Path(os.environ.get("KUBUS_BUILD", TOP / "build")) / "bin" / "kubus"
MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}


class Processes:
    """A store and a gateway, without kubusd."""

    def __init__(self):
        self.data = tempfile.mkdtemp(prefix="kubus-gateway-")
        self.port = free_port()
        self.started = {}
        self.start("store")
        self.start("api", "--listen", f"127.0.0.1:{self.port}")
        self.until(lambda: self.plain("/readyz") == 200, "the gateway is ready")
        self.bus = Bus(self.data)

    def start(self, name, *options):
        log = open(os.path.join(self.data, name + ".log"), "a", encoding="utf-8")
        self.started[name] = subprocess.Popen(
            [KUBUS, "actor", name, "--data", self.data, "--standalone", *options], stderr=log, stdout=log)
        log.close()

    def kill(self, name, how=signal.SIGKILL):
        self.started[name].send_signal(how)
        return self.started[name].wait(30)

    def end(self):
        self.bus.close()
        for name in self.started:
            if self.started[name].poll() is None:
                self.kill(name)
        shutil.rmtree(self.data, ignore_errors=True)

    @staticmethod
    def until(condition, what, timeout=120):
        deadline = time.monotonic() + timeout
        while True:
            try:
                if condition():
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}")
            threading.Event().wait(0.02)

    def tls(self, cert="admin"):
        context = ssl.create_default_context(cafile=f"{self.data}/pki/ca.crt")
        if cert:
            context.load_cert_chain(f"{self.data}/pki/{cert}.crt", f"{self.data}/pki/{cert}.key")
        return context

    def plain(self, path):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context())
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    def open(self, method, path, body=None, headers=None, cert="admin"):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(cert), timeout=60)
        headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, json.dumps(body) if isinstance(body, (dict, list)) else body, headers)
        return connection, connection.getresponse()

    def ask(self, method, path, body=None, headers=None, cert="admin"):
        connection, answer = self.open(method, path, body, headers, cert)
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else text


class Watch:
    def __init__(self, path, headers=None):
        self.connection, self.answer = here.open("GET", path, headers=headers)
        self.status = self.answer.status

    def next(self):
        line = self.answer.readline()
        return json.loads(line) if line else None

    def names(self, n):
        return [(e["type"], e["object"]["metadata"]["name"]) for e in (self.next() for _ in range(n))]

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def config_map(name, labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def rev(thing):
    return int(thing["metadata"]["resourceVersion"])


class Case(unittest.TestCase):
    def setUp(self):
        self.assertEqual(here.ask("DELETE", MAPS)[0], 200)

    def make(self, name, labels=None, **data):
        status, made = here.ask("POST", MAPS, config_map(name, labels, **data))
        self.assertEqual(status, 201, made)
        return made

    def items(self, path):
        status, listed = here.ask("GET", path)
        self.assertEqual(status, 200, listed)
        return [item["metadata"]["name"] for item in listed["items"]]


class Reads(Case):
    def test_what_was_made_is_read(self):
        made = self.make("a", x="1")
        status, got = here.ask("GET", MAPS + "/a")
        self.assertEqual((status, got), (200, made))
        status, missing = here.ask("GET", MAPS + "/b")
        self.assertEqual((status, missing["reason"], missing["message"]), (404, "NotFound", 'configmaps "b" not found'))

    def test_chunks_are_one_snapshot(self):
        for i in range(7):
            self.make(f"c{i}")
        status, first = here.ask("GET", MAPS + "?limit=3")
        self.assertEqual([i["metadata"]["name"] for i in first["items"]], ["c0", "c1", "c2"])
        here.ask("DELETE", MAPS + "/c4")
        self.make("c3x")
        names, token = [], first["metadata"]["continue"]
        while token:
            status, page = here.ask("GET", f"{MAPS}?limit=2&continue={token}")
            self.assertEqual(status, 200, page)
            self.assertEqual(rev(page), rev(first))
            names += [i["metadata"]["name"] for i in page["items"]]
            token = page["metadata"].get("continue")
        self.assertEqual(names, ["c3", "c4", "c5", "c6"])

    def test_an_old_chunk_is_gone_after_compaction(self):
        for i in range(3):
            self.make(f"d{i}")
        _, first = here.ask("GET", MAPS + "?limit=1")
        self.make("d9")
        here.bus.call("store", "store.compact", {})
        status, gone = here.ask("GET", f"{MAPS}?limit=1&continue={first['metadata']['continue']}")
        self.assertEqual((status, gone["reason"]), (410, "Expired"))
        self.assertEqual(here.ask("GET", f"{MAPS}?continue=nonsense")[0], 400)

    def test_selectors(self):
        self.make("e1", {"app": "a", "n": "1"})
        self.make("e2", {"app": "b"})
        self.make("e3", {"app": "a", "n": "2"})
        self.assertEqual(self.items(MAPS + "?labelSelector=app%3Da"), ["e1", "e3"])
        self.assertEqual(self.items(MAPS + "?labelSelector=app+in+(a,b),!n"), ["e2"])
        self.assertEqual(self.items(MAPS + "?fieldSelector=metadata.name%3De2"), ["e2"])
        self.assertEqual(self.items(MAPS + "?fieldSelector=metadata.name!%3De2&limit=9"), ["e1", "e3"])
        status, wrong = here.ask("GET", MAPS + "?fieldSelector=data.x%3D1")
        self.assertEqual((status, wrong["message"]), (400, "field label not supported: data.x"))

    def test_limits_with_a_selector_that_is_matched_here(self):
        for i in range(20):
            self.make(f"f{i:02}")
        path = MAPS + "?limit=6&fieldSelector=metadata.name!%3Df03"
        names, token = [], ""
        while True:
            _, page = here.ask("GET", path + (f"&continue={token}" if token else ""))
            names += [i["metadata"]["name"] for i in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                break
        self.assertEqual(names, [f"f{i:02}" for i in range(20) if i != 3])

    def test_revisions_of_lists(self):
        first = self.make("g1")
        self.make("g2")
        exact = f"{MAPS}?resourceVersion={rev(first)}&resourceVersionMatch=Exact"
        self.assertEqual(self.items(exact), ["g1"])
        self.assertEqual(self.items(MAPS + "?resourceVersion=0"), ["g1", "g2"])
        status, ahead = here.ask("GET", f"{MAPS}?resourceVersion={rev(first) + 1000000}")
        self.assertEqual((status, ahead["reason"]), (504, "Timeout"))
        self.assertEqual(here.ask("GET", MAPS + "?resourceVersion=x")[0], 400)

    def test_other_forms(self):
        self.make("h1", {"a": "b"}, x="1", y="2")
        _, table = here.ask("GET", MAPS, headers=TABLE)
        self.assertEqual(table["kind"], "Table")
        self.assertEqual([c["name"] for c in table["columnDefinitions"]], ["Name", "Data", "Age"])
        self.assertEqual(table["rows"][0]["cells"][:2], ["h1", 2])
        self.assertEqual(table["rows"][0]["object"]["kind"], "PartialObjectMetadata")
        _, bare = here.ask("GET", MAPS + "/h1?includeObject=None", headers=TABLE)
        self.assertNotIn("object", bare["rows"][0])
        _, partial = here.ask("GET", MAPS + "/h1", headers=PARTIAL)
        self.assertEqual((partial["kind"], partial["metadata"]["labels"]), ("PartialObjectMetadata", {"a": "b"}))
        self.assertNotIn("data", partial)
        connection, answer = here.open("GET", MAPS + "/h1", headers={"Accept": "application/yaml"})
        self.assertIn(b"\nkind: ConfigMap\n", answer.read())
        connection.close()

    def test_a_large_list_is_whole(self):
        text = "x" * 60000
        for i in range(150):
            self.make(f"i{i:03}", big=text)
        _, listed = here.ask("GET", MAPS)
        self.assertEqual([i["metadata"]["name"] for i in listed["items"]], [f"i{i:03}" for i in range(150)])
        self.assertTrue(all(i["data"]["big"] == text for i in listed["items"]))


class HotReads(Case):
    """Of a resource that is read so often that it is kept in memory."""

    def setUp(self):
        super().setUp()
        self.make("hot")
        for _ in range(30):
            self.items(MAPS)

    def test_what_was_just_written_is_read(self):
        connection = http.client.HTTPSConnection("127.0.0.1", here.port, context=here.tls(), timeout=30)

        def ask(method, path, body=None):
            connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        for i in range(150):
            _, put = ask("PUT", MAPS + "/hot", config_map("hot", i=str(i)))
            self.assertEqual(ask("GET", MAPS + "/hot"), (200, put))
            _, listed = ask("GET", MAPS)
            self.assertGreaterEqual(rev(listed), rev(put))
            self.assertEqual([rev(item) for item in listed["items"]], [rev(put)])
        self.assertEqual(ask("DELETE", MAPS + "/hot")[0], 200)
        self.assertEqual(ask("GET", MAPS + "/hot")[0], 404)
        self.assertEqual(ask("GET", MAPS)[1]["items"], [])
        self.assertEqual(ask("POST", MAPS, config_map("hot"))[0], 201)
        self.assertEqual(len(ask("GET", MAPS)[1]["items"]), 1)
        connection.close()

    def test_what_others_wrote_on_the_bus_is_read(self):
        doc = here.bus.call("store", "store.get", {"key": "configmaps/default/hot"})["doc"]
        for i in range(50):
            doc["data"] = {"i": str(i)}
            put = {"op": "put", "key": "configmaps/default/hot", "doc": doc}
            answer = here.bus.call("store", "store.txn", {"ops": [put]})
            _, got = here.ask("GET", MAPS + "/hot")
            self.assertEqual((got["data"]["i"], rev(got)), (str(i), answer["rev"]))

    def test_concurrent_readers_never_go_back(self):
        stop, problems = threading.Event(), []

        def read():
            last = (0, 0)
            while not stop.is_set():
                _, listed = here.ask("GET", MAPS)
                seen = (rev(listed), max([int(i["data"]["n"]) for i in listed["items"] if "data" in i] or [0]))
                if seen[0] < last[0] or seen[1] < last[1]:
                    problems.append((last, seen))
                last = seen

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for i in range(200):
            here.ask("PUT", MAPS + "/hot", config_map("hot", n=str(i)))
        stop.set()
        for reader in readers:
            reader.join()
        self.assertEqual(problems, [])

    def test_what_is_not_there_is_not_found(self):
        for _ in range(3):
            self.assertEqual(here.ask("GET", MAPS + "/never")[0], 404)
        made = self.make("later")
        self.assertEqual(here.ask("GET", MAPS + "/later"), (200, made))
        self.assertEqual(here.ask("GET", MAPS + "/later", headers=TABLE)[1]["rows"][0]["cells"][0], "later")

    def test_chunks_and_forms(self):
        for name in "cab":
            self.make(name)
        _, first = here.ask("GET", MAPS + "?limit=2")
        self.assertEqual([i["metadata"]["name"] for i in first["items"]], ["a", "b"])
        self.assertEqual(first["metadata"]["remainingItemCount"], 2)
        here.ask("DELETE", MAPS + "/c")
        _, rest = here.ask("GET", f"{MAPS}?limit=9&continue={first['metadata']['continue']}")
        self.assertEqual([i["metadata"]["name"] for i in rest["items"]], ["c", "hot"])
        _, table = here.ask("GET", MAPS, headers=TABLE)
        self.assertEqual([r["cells"][0] for r in table["rows"]], ["a", "b", "hot"])
        here.ask("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("other"))
        self.assertEqual(self.items("/api/v1/namespaces/kube-system/configmaps"), ["other"])
        self.assertIn("other", self.items("/api/v1/configmaps"))
        self.assertEqual(self.items(MAPS + "?fieldSelector=metadata.name%3Db"), ["b"])
        here.ask("DELETE", "/api/v1/namespaces/kube-system/configmaps/other")

    def test_it_survives_the_store(self):
        here.kill("store")
        here.start("store")
        here.until(lambda: here.ask("GET", MAPS + "/hot")[0] == 200, "the store is back")
        made = self.make("after")
        self.assertEqual(here.ask("GET", MAPS + "/after"), (200, made))
        self.assertEqual(self.items(MAPS), ["after", "hot"])


class HotGets(Case):
    """Of a resource whose objects are got one by one, so often that these are kept in memory."""

    PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

    def lease(self, name, text):
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "annotations": {"i": text}}}

    def setUp(self):
        super().setUp()
        for name in ("hot", "other"):
            here.ask("DELETE", f"{self.PATH}/{name}")
        self.assertEqual(here.ask("POST", self.PATH, self.lease("hot", "first"))[0], 201)
        self.warm(self.PATH + "/hot")

    def warm(self, path):
        """Get it, over one connection, until it comes from memory."""
        connection = http.client.HTTPSConnection("127.0.0.1", here.port, context=here.tls(), timeout=60)
        self.addCleanup(connection.close)

        def get(path):
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read()
            self.assertEqual(answer.status, 200)
            return text.decode()

        def from_memory():
            return int(re.search(r"(?m)^kubus_api_cached_gets_total (\d+)$", get("/metrics"))[1])

        def grows():
            before = from_memory()
            for _ in range(60):
                get(path)
            return from_memory() > before
        here.until(grows, f"{path} comes from memory")

    def test_what_was_just_written_is_got(self):
        for i in range(50):
            put = here.ask("PUT", self.PATH + "/hot", self.lease("hot", str(i)))
            self.assertEqual(here.ask("GET", self.PATH + "/hot"), put)
            self.assertEqual(here.ask("GET", self.PATH + "/other")[0], 404)
        self.assertEqual(here.ask("DELETE", self.PATH + "/hot")[0], 200)
        self.assertEqual(here.ask("GET", self.PATH + "/hot")[0], 404)
        for name in ("other", "hot"):
            _, made = here.ask("POST", self.PATH, self.lease(name, "again"))
            self.assertEqual(here.ask("GET", f"{self.PATH}/{name}"), (200, made))
        _, table = here.ask("GET", self.PATH + "/other", headers=TABLE)
        self.assertEqual(table["rows"][0]["cells"][0], "other")

    def test_what_others_wrote_on_the_bus_is_got(self):
        key = "leases.coordination.k8s.io/default/hot"
        doc = here.bus.call("store", "store.get", {"key": key})["doc"]
        for i in range(50):
            doc["metadata"]["annotations"] = {"i": str(i)}
            answer = here.bus.call("store", "store.txn", {"ops": [{"op": "put", "key": key, "doc": doc}]})
            _, got = here.ask("GET", self.PATH + "/hot")
            self.assertEqual((got["metadata"]["annotations"], rev(got)), ({"i": str(i)}, answer["rev"]))
        here.bus.call("store", "store.txn", {"ops": [{"op": "del", "key": key}]})
        self.assertEqual(here.ask("GET", self.PATH + "/hot")[0], 404)

    def test_lists_then_have_all(self):
        path = "/api/v1/namespaces/default/serviceaccounts"
        for name in ("hot", "other"):
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            self.assertEqual(here.ask("POST", path, account)[0], 201)
        self.warm(path + "/hot")
        for _ in range(40):
            self.assertEqual(here.ask("GET", path + "/hot")[0], 200)
            self.assertEqual(self.items(path), ["default", "hot", "other"])


class Watches(Case):
    def test_from_a_revision_on(self):
        first = self.make("a")
        self.make("b")
        here.ask("PUT", MAPS + "/b", config_map("b", x="2"))
        here.ask("DELETE", MAPS + "/a")
        with Watch(f"{MAPS}?watch=1&resourceVersion={rev(first)}") as watch:
            self.assertEqual(watch.names(3), [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")])
            self.make("c")
            event = watch.next()
            self.assertEqual((event["type"], event["object"]["metadata"]["name"]), ("ADDED", "c"))
            self.assertEqual(event["object"], here.ask("GET", MAPS + "/c")[1])

    def test_without_a_revision_what_is_there_comes_first(self):
        self.make("a")
        self.make("b")
        with Watch(MAPS + "?watch=true") as watch:
            self.assertEqual(watch.names(2), [("ADDED", "a"), ("ADDED", "b")])
            here.ask("DELETE", MAPS + "/a")
            self.assertEqual(watch.names(1), [("DELETED", "a")])

    def test_initial_events_end_with_a_bookmark(self):
        made = self.make("a")
        path = MAPS + "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        with Watch(path) as watch:
            self.assertEqual(watch.names(1), [("ADDED", "a")])
            bookmark = watch.next()
            self.assertEqual(bookmark["type"], "BOOKMARK")
            self.assertEqual(bookmark["object"]["metadata"]["annotations"], {"k8s.io/initial-events-end": "true"})
            self.assertGreaterEqual(rev(bookmark["object"]), rev(made))

    def test_objects_enter_and_leave_a_selection(self):
        first = self.make("a", {"app": "x"})
        with Watch(f"{MAPS}?watch=1&labelSelector=app%3Dy&resourceVersion={rev(first)}") as watch:
            here.ask("PUT", MAPS + "/a", config_map("a", {"app": "y"}))
            here.ask("PUT", MAPS + "/a", config_map("a", {"app": "y"}, k="v"))
            _, out = here.ask("PUT", MAPS + "/a", config_map("a", {"app": "z"}))
            self.make("b", {"app": "y"})
            self.assertEqual(watch.names(2), [("ADDED", "a"), ("MODIFIED", "a")])
            left = watch.next()
            self.assertEqual((left["type"], left["object"]["metadata"]["labels"]), ("DELETED", {"app": "y"}))
            self.assertEqual(rev(left["object"]), rev(out))
            self.assertEqual(watch.names(1), [("ADDED", "b")])

    def test_one_object_and_other_namespaces(self):
        first = self.make("a")
        with Watch(f"{MAPS}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={rev(first)}") as one, \
                Watch(f"/api/v1/configmaps?watch=1&resourceVersion={rev(first)}") as everywhere, \
                Watch(f"/api/v1/namespaces/kube-system/configmaps?watch=1&resourceVersion={rev(first)}") as other:
            self.make("c")
            self.make("b")
            here.ask("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("d"))
            self.assertEqual(one.names(1), [("ADDED", "b")])
            self.assertEqual(everywhere.names(3), [("ADDED", "c"), ("ADDED", "b"), ("ADDED", "d")])
            self.assertEqual(other.names(1), [("ADDED", "d")])
        here.ask("DELETE", "/api/v1/namespaces/kube-system/configmaps/d")

    def test_a_revision_that_is_gone_is_an_error_event(self):
        first = self.make("a")
        self.make("b")
        self.make("c")
        here.bus.call("store", "store.compact", {})
        with Watch(f"/api/v1/secrets?watch=1&resourceVersion={rev(first)}") as watch:
            event = watch.next()
            self.assertEqual((event["type"], event["object"]["code"], event["object"]["reason"]),
                             ("ERROR", 410, "Expired"))
            self.assertIsNone(watch.next())

    def test_tables_bring_their_columns_once(self):
        with Watch(MAPS + "?watch=1", TABLE) as watch:
            self.make("a", x="1")
            self.make("b")
            first, second = watch.next()["object"], watch.next()["object"]
            self.assertEqual([c["name"] for c in first["columnDefinitions"]], ["Name", "Data", "Age"])
            self.assertEqual(first["rows"][0]["cells"][:2], ["a", 1])
            self.assertFalse(second["columnDefinitions"])

    def test_a_time_out_ends_it_in_order(self):
        first = self.make("a")
        self.make("b")  # there before: its event does not race with the end
        with Watch(f"{MAPS}?watch=1&timeoutSeconds=3&resourceVersion={rev(first)}") as watch:
            self.assertEqual(watch.names(1), [("ADDED", "b")])
            self.assertIsNone(watch.next())

    def test_many_watchers_see_the_same_in_order(self):
        first = self.make("start")
        watches = [Watch(f"{MAPS}?watch=1&resourceVersion={rev(first)}") for _ in range(20)]
        writers = [threading.Thread(target=lambda k=k: [self.make(f"m{k}-{i}") for i in range(25)]) for k in range(4)]
        for writer in writers:
            writer.start()
        seen = [[rev(watch.next()["object"]) for _ in range(100)] for watch in watches]
        for writer in writers:
            writer.join()
        for watch in watches:
            watch.close()
        self.assertEqual(seen[0], sorted(set(seen[0])))
        self.assertTrue(all(other == seen[0] for other in seen))

    def test_nothing_is_lost_when_the_store_dies(self):
        first = self.make("n0")
        with Watch(f"{MAPS}?watch=1&resourceVersion={rev(first)}") as watch:
            self.make("n1")
            self.assertEqual(watch.names(1), [("ADDED", "n1")])
            here.kill("store")
            here.start("store")
            here.until(lambda: here.ask("GET", MAPS + "/n1")[0] == 200, "the store is back")
            self.make("n2")
            here.ask("DELETE", MAPS + "/n1")
            self.assertEqual(watch.names(2), [("ADDED", "n2"), ("DELETED", "n1")])


class Doors(Case):
    def test_who_may_do_what(self):
        status, refused = here.ask("GET", "/api/v1/pods", cert=None)
        self.assertEqual((status, refused["message"]),
                         (403, 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API '
                               'group "" at the cluster scope'))
        self.assertEqual(here.ask("GET", "/readyz", cert=None), (200, b"ok"))
        self.assertEqual(here.ask("GET", "/version", cert=None)[0], 200)
        self.assertEqual(here.ask("GET", "/metrics", cert=None)[0], 403)
        self.assertEqual(here.ask("GET", "/version", cert=None, headers={"Authorization": "Bearer x"})[0], 401)

    def test_a_self_signed_master_is_turned_away(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/O=system:masters/CN=kubernetes-admin", "-keyout", f"{here.data}/pki/self.key",
                        "-out", f"{here.data}/pki/self.crt"], check=True, capture_output=True)
        status, refused = here.ask("GET", "/api/v1/pods", cert="self")
        self.assertEqual((status, refused["reason"]), (401, "Unauthorized"))

    def test_what_is_not_there_or_not_allowed(self):
        for method, path, body, headers, want in (
                ("GET", "/api/v1/unicorns", None, {}, 404), ("GET", "/nonsense", None, {}, 404),
                ("PUT", MAPS, {}, {}, 405), ("POST", "/api/v1/configmaps", {}, {}, 405),
                ("POST", "/version", {}, {}, 405), ("GET", MAPS, None, {"Accept": "text/html"}, 406),
                ("POST", MAPS, "x", {"Content-Type": "text/plain"}, 415),
                ("PATCH", MAPS + "/a", "x", {"Content-Type": "application/json"}, 415),
                ("POST", MAPS, "{", {}, 400), ("POST", MAPS, "x" * (3 * 1024 * 1024 + 1), {}, 413),
                ("POST", MAPS, "k8s", {"Content-Type": "application/vnd.kubernetes.protobuf"}, 400)):
            status, answer = here.ask(method, path, body, headers)
            self.assertEqual((status, answer["kind"], answer["code"]), (want, "Status", want), (method, path, answer))

    def test_discovery_and_health(self):
        status, groups = here.ask("GET", "/apis")
        self.assertIn("apps", [g["name"] for g in groups["groups"]])
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        _, found = here.ask("GET", "/api", headers={"Accept": accept})
        self.assertEqual(found["kind"], "APIGroupDiscoveryList")
        self.assertIn(b"[+]store ok", here.ask("GET", "/readyz?verbose")[1])

    def test_requests_are_counted_by_words_of_our_own_alone(self):
        self.make("counted")
        for i in range(20):  # whoever makes up subresources shall not fill the memory with counters
            here.ask("GET", f"{MAPS}/counted/made-up-{i}\"", cert=None)
            here.ask("MADE-UP", f"{MAPS}/counted")
        here.ask("GET", "/api/v1/namespaces/default/pods/nobody/log")
        metrics = here.ask("GET", "/metrics")[1].decode()
        self.assertNotIn("made-up", metrics.lower())
        for labels in ('verb="create",resource="configmaps",subresource=""',
                       'verb="get",resource="pods",subresource="log"'):
            self.assertIn(f"apiserver_request_total{{{labels}}} ", metrics)
        self.assertRegex(metrics, r'(?m)^kubus_http_responses_total\{code="201"\} [1-9]')


class Leaving(Case):
    """Clients that go away in mid-answer harm nobody."""

    ASK = b"GET /openapi/v3/apis/apps/v1 HTTP/1.1\r\nHost: gateway\r\n\r\n"

    def connected(self):
        raw = socket.create_connection(("127.0.0.1", here.port), timeout=60)
        client = here.tls().wrap_socket(raw, server_hostname="127.0.0.1")
        client.sendall(b"GET /version HTTP/1.1\r\nHost: gateway\r\n\r\n")
        text = b""
        while not text.endswith(b"}"):
            text += client.recv(10000)
        return client

    def tearDown(self):
        self.assertEqual(here.ask("GET", "/version")[0], 200)
        self.assertIsNone(here.started["api"].poll(), "the gateway lives")

    def test_a_connection_that_is_reset(self):
        for _ in range(20):
            client = self.connected()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(self.ASK * 20)
            client.close()

    def test_a_connection_that_is_closed(self):
        for asked in range(40):
            client = self.connected()
            client.sendall(self.ASK * (1 + asked % 4))
            client.close()

    def test_a_connection_that_says_goodbye(self):
        for _ in range(20):
            client = self.connected()
            client.sendall(self.ASK * 3)
            try:
                client.settimeout(0)  # the goodbye, and no wait for the answer to it
                client.unwrap()
            except (ssl.SSLError, OSError):
                pass
            client.close()


class Zstop(Case):
    """Last by its name, for it takes the gateway down."""

    def test_it_stops_in_order_and_comes_back(self):
        with Watch(f"{MAPS}?watch=1&resourceVersion={rev(self.make('a'))}") as watch:
            self.make("b")
            self.assertEqual(watch.names(1), [("ADDED", "b")])
            self.assertEqual(here.kill("api", signal.SIGTERM), 0)
            self.assertIsNone(watch.next())
        here.start("api", "--listen", f"127.0.0.1:{here.port}")
        here.until(lambda: here.plain("/readyz") == 200, "the gateway is ready again")


if __name__ == "__main__":
    here = Processes()
    try:
        program = unittest.main(exit=False, verbosity=2)
        if not program.result.wasSuccessful():
            for name in here.started:
                print(f"---- {name}", pathlib.Path(here.data, name + ".log").read_text(), sep="\n")
    finally:
        here.end()
    sys.exit(not program.result.wasSuccessful())
