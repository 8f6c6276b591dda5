"""A checker that reads the whole revision log of a store and says what must not be in it.

It knows nothing of how the cluster works inside: only what a user may rely on. Each check returns a
list of texts, empty when all is well.
"""


def order(changes):
    """Revisions never fall; an object is created before it changes, and deleted at most once."""
    problems, alive, last = [], {}, 0
    for change in changes:
        key, rev = change["key"], change["rev"]
        if rev < last:
            problems.append(f"{key}: revision {rev} after {last}")
        last = rev
        if change["op"] == "put":
            uid = uid_of(change)
            if alive.get(key, uid) != uid:
                problems.append(f"{key}: replaced at {rev} without having been deleted")
            alive[key] = uid
        elif alive.pop(key, None) is None:
            problems.append(f"{key}: deleted at {rev}, but it was not there")
    return problems


def acknowledged(changes, acks):
    """`acks`: {(key, rev)} that a client was told. Each is in the log, exactly so."""
    there = {(c["key"], c["rev"]) for c in changes if c["op"] == "put"}
    return [f"{key}: the write acknowledged as {rev} is missing"
            for key, rev in sorted(acks) if (key, rev) not in there]


def refused(changes, keys):
    """`keys` whose creation was refused for good: none may ever have existed."""
    made = {c["key"] for c in changes if c["op"] == "put"}
    return [f"{key}: was refused, yet it is there" for key in sorted(keys) if key in made]


def bindings(changes):
    """A pod that has a node keeps it until it is gone."""
    problems, node = [], {}
    for change in changes:
        key, doc = change["key"], change.get("doc") or {}
        if change["op"] == "del":
            node.pop(key, None)
            continue
        now, before = doc.get("spec", {}).get("nodeName"), node.get(key)
        if before and now != before:
            problems.append(f"{key}: moved from {before} to {now} at {change['rev']}")
        if now:
            node[key] = now
    return problems


def phases(changes):
    """A pod's phase only goes forward; a container's restart count never falls."""
    rank = {"Pending": 0, "Running": 1, "Succeeded": 2, "Failed": 2}
    problems, phase, restarts = [], {}, {}
    for change in changes:
        key = change["key"]
        if change["op"] == "del":
            phase.pop(key, None)
            restarts = {k: v for k, v in restarts.items() if k[0] != key}
            continue
        status = change["doc"].get("status", {})
        now = status.get("phase", "Pending")
        if rank.get(now, 0) < rank.get(phase.get(key, "Pending"), 0):
            problems.append(f"{key}: from {phase[key]} back to {now} at {change['rev']}")
        phase[key] = now
        for container in status.get("containerStatuses", []):
            name, count = (key, container["name"]), container.get("restartCount", 0)
            if count < restarts.get(name, 0):
                problems.append(f"{key}: restart count of {name[1]} fell at {change['rev']}")
            restarts[name] = count
    return problems


class Asked:
    """How many pods a ReplicaSet may be asking for, as its controller can know it.

    While a pod is on its way into the store, the number may change: a controller that decided by the
    old one has done nothing wrong. But it runs a set again only when all that it wrote before is
    there, and each run says the generation that it goes by in the status. So a pod was decided on by
    the generation in the status or by a later one.
    """

    def __init__(self):
        self.numbers = []  # (generation, replicas), none older than what the status says

    def change(self, doc):
        self.numbers.append((doc["metadata"].get("generation", 0), doc.get("spec", {}).get("replicas", 1)))
        observed = doc.get("status", {}).get("observedGeneration", 0)
        self.numbers = [(g, n) for g, n in self.numbers if g >= observed]

    def most(self):
        return max((n for _, n in self.numbers), default=0)


def replicas(pods, replicasets):
    """No ReplicaSet ever had more live pods than it asked for: nothing is done twice."""
    problems, asked, live = [], {}, {}
    for change in sorted(pods + replicasets, key=lambda c: c["rev"]):
        doc = change.get("doc") or {}
        if change["key"].startswith("replicasets.apps/"):
            asked.setdefault(uid_of(change), Asked()).change(doc)
            continue
        owner = controller_of(doc)
        if owner is None:
            continue
        members = live.setdefault(owner, set())
        ended = doc.get("status", {}).get("phase") in ("Succeeded", "Failed")
        leaving = doc.get("metadata", {}).get("deletionTimestamp") is not None
        if change["op"] == "del" or leaving or ended:
            members.discard(change["key"])
        elif change["key"] not in members:
            members.add(change["key"])
            most = asked[owner].most() if owner in asked else 0
            if len(members) > most:
                problems.append(f"{change['key']}: pod {len(members)} of a ReplicaSet that wants "
                                f"{most}, at {change['rev']}")
    return problems


def around(changes, rev, before=80, after=5):
    """What the log says before a revision, and a little behind it: a line a change."""
    changes = sorted(changes, key=lambda c: c["rev"])
    at = next((i for i, c in enumerate(changes) if c["rev"] >= rev), len(changes))
    for c in changes[max(0, at - before):at + after]:
        doc = c.get("doc") or {}
        meta, spec, status = (doc.get(k, {}) for k in ("metadata", "spec", "status"))
        yield (f"{c['rev']:7} {c['op']} {c['key']} gen={meta.get('generation')}/{status.get('observedGeneration')} "
               f"want={spec.get('replicas')} has={status.get('replicas')} phase={status.get('phase')} "
               f"node={spec.get('nodeName')} deleted={meta.get('deletionTimestamp')}")


def uid_of(change):
    return (change.get("doc") or {}).get("metadata", {}).get("uid")


def controller_of(doc):
    for owner in doc.get("metadata", {}).get("ownerReferences", []):
        if owner.get("controller"):
            return owner["uid"]
    return None
