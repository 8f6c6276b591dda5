#!/usr/bin/env python3
"""A controller in Python: copies of ConfigMaps in other namespaces.

A ConfigMap with the annotation `examples.kubus.dev/mirror-to: NAMESPACE` is copied there under the
same name; the copy follows its source, and goes with it. A copy carries the label
`examples.kubus.dev/mirror-of: NAMESPACE`, by which it is known again; what has no such label is
somebody else's and is left alone.

    ./mirror.py DATA        DATA is the cluster's data folder

It is level-triggered as every controller: `reconcile` compares what should be with what is there
and writes the difference; a refused write is tried again later from what is there then.
"""
import sys

from kubus_bus import Bus

TO = "examples.kubus.dev/mirror-to"
OF = "examples.kubus.dev/mirror-of"


class Mirror:
    def __init__(self, bus):
        self.bus = bus
        self.objects = {}    # (namespace, name) -> (rev, doc)
        self.busy = set()    # copies with a write under way
        self.again = set()   # of those: to be looked at again afterwards
        self.synced = False
        bus.follow("configmaps", self.on_change, self.on_synced)

    # ---- what is there ----

    def on_change(self, op, key, rev, doc):
        _, namespace, name = key.split("/")
        old = self.objects.pop((namespace, name), (0, None))[1]
        if op == "put":
            self.objects[namespace, name] = (rev, doc)
        if self.synced:
            for state in (old, doc):
                for copy in self.copies_of(namespace, name, state):
                    self.reconcile(copy)

    def on_synced(self, rev):
        if not self.synced:
            self.synced = True
            for (namespace, name), (_, doc) in list(self.objects.items()):
                for copy in self.copies_of(namespace, name, doc):
                    self.reconcile(copy)

    @staticmethod
    def copies_of(namespace, name, doc):
        """The copies that a change of this object concerns: the one it asks for, and itself."""
        metadata = (doc or {}).get("metadata", {})
        if TO in metadata.get("annotations", {}):
            yield metadata["annotations"][TO], name
        if OF in metadata.get("labels", {}):
            yield namespace, name

    # ---- what should be there ----

    def source_of(self, copy):
        """The object that wants to be mirrored to `copy`; of several, the first by namespace."""
        namespace, name = copy
        wishing = [doc for (_, other), (_, doc) in sorted(self.objects.items())
                   if other == name and
                   doc["metadata"].get("annotations", {}).get(TO) == namespace and
                   "deletionTimestamp" not in doc["metadata"]]
        return wishing[0] if wishing else None

    def reconcile(self, copy):
        if copy in self.busy:
            self.again.add(copy)
            return
        namespace, name = copy
        source = self.source_of(copy)
        rev, there = self.objects.get(copy, (0, None))
        if there and OF not in there["metadata"].get("labels", {}):
            return
        target = {"resource": "configmaps", "ns": namespace, "manager": "mirror"}
        if source is None:
            if there:
                self.write("object.delete", copy, {**target, "name": name,
                                                   "uid": there["metadata"]["uid"]})
            return
        wanted = {"apiVersion": "v1", "kind": "ConfigMap",
                  "metadata": {"name": name, "namespace": namespace,
                               "labels": {OF: source["metadata"]["namespace"]}},
                  **{part: source[part] for part in ("data", "binaryData") if part in source}}
        if there is None:
            self.write("object.create", copy, {**target, "doc": wanted})
        elif any(there.get(part) != wanted.get(part) for part in ("data", "binaryData")) or \
                there["metadata"]["labels"] != wanted["metadata"]["labels"]:
            self.write("object.update", copy, {**target, "name": name, "doc": wanted, "rev": rev})

    # ---- writing ----

    def write(self, method, copy, body):
        self.busy.add(copy)
        self.bus.call("api", method, body, lambda error, _: self.written(copy, error))

    def written(self, copy, error):
        self.busy.discard(copy)
        if error:
            print(f"{'/'.join(copy)}: {error}", file=sys.stderr)
            self.bus.after(0.5, lambda: self.reconcile(copy))
        elif copy in self.again:
            self.again.discard(copy)
            self.reconcile(copy)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: mirror.py DATA")
    try:
        Mirror(Bus(sys.argv[1], "mirror")).bus.run()
    except KeyboardInterrupt:
        pass
