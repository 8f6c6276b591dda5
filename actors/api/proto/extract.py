#!/usr/bin/python3
"""Writes messages.txt: the field numbers of Kubernetes' protobuf encoding.

They are taken from the file descriptors that every kubectl binary carries, so this needs nothing else:

    ./extract.py /usr/bin/kubectl > messages.txt

A message is a line `GROUP.NAME`, its fields are the indented lines below: number, JSON name, type. Types:
string bytes bool int double, a message, `[]` of these, `map[]` (from string) of these; `inline MESSAGE` stands in
the parent's place in JSON; `bool?` and `int?` are absent when zero (Go's omitempty on what is no pointer).
"""
import re
import sys
import zlib

FILES = {  # proto package -> the prefix of its messages here
    "k8s.io.api.core.v1": "core", "k8s.io.api.apps.v1": "apps", "k8s.io.api.coordination.v1": "coordination",
    "k8s.io.api.policy.v1": "policy", "k8s.io.api.autoscaling.v1": "autoscaling",
    "k8s.io.api.scheduling.v1": "scheduling",
    "k8s.io.api.authentication.v1": "authentication", "k8s.io.apimachinery.pkg.apis.meta.v1": "meta",
    "k8s.io.apimachinery.pkg.runtime": "runtime", "k8s.io.apimachinery.pkg.api.resource": "resource",
    "k8s.io.apimachinery.pkg.util.intstr": "intstr",
}
ROOTS = """core.Pod core.Binding core.ConfigMap core.Secret core.ServiceAccount core.Service core.Namespace core.Node
core.Event core.ReplicationController apps.Deployment apps.ReplicaSet coordination.Lease policy.Eviction
autoscaling.Scale meta.DeleteOptions core.PersistentVolume core.PersistentVolumeClaim core.Endpoints core.LimitRange
core.ResourceQuota core.PodTemplate apps.StatefulSet apps.DaemonSet apps.ControllerRevision
authentication.TokenRequest policy.PodDisruptionBudget scheduling.PriorityClass""".split()
INLINE = {"volumeSource", "persistentVolumeSource", "ephemeralContainerCommon", "localObjectReference"}
ZERO_BOOL = """hostNetwork hostPID hostIPC stdin stdinOnce tty readOnly unschedulable publishNotReadyAddresses
paused""".split()
ZERO_INT = """generation minReadySeconds hostPort nodePort initialDelaySeconds periodSeconds successThreshold
failureThreshold observedGeneration updatedReplicas readyReplicas availableReplicas unavailableReplicas
fullyLabeledReplicas count healthCheckNodePort signal""".split()
SCALAR = {1: "double", 3: "int", 4: "int", 5: "int", 8: "bool", 9: "string", 12: "bytes", 13: "int"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def records(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            value, at = data[at:at + 4], at + 4
        yield key >> 3, value


def one(data, number, default=None):
    return next((v for n, v in records(data) if n == number), default)


def short(name):
    package, _, message = name.lstrip(".").rpartition(".")
    return FILES[package] + "." + message if package in FILES else None


def read(binary):
    messages = {}
    for match in re.finditer(rb"\x1f\x8b\x08\x00{5}[\x00\x02\x04][\xff\x00\x03]", binary):
        try:
            text = zlib.decompressobj(31).decompress(binary[match.start():match.start() + 400000])
            package = one(text, 2, b"").decode()
        except (zlib.error, UnicodeDecodeError, IndexError):
            continue
        for number, message in records(text) if package in FILES else ():
            if number == 4:
                messages[FILES[package] + "." + one(message, 1).decode()] = message
    return messages


def map_value(message, type_name):
    entry = type_name.rpartition(".")[2]
    for number, nested in records(message):
        if number == 3 and one(nested, 1).decode() == entry and one(nested, 7):
            fields = [f for n, f in records(nested) if n == 2]
            return next(f for f in fields if one(f, 3) == 2)
    return None


def type_of(field):
    kind = one(field, 5)
    return short(one(field, 6).decode()) if kind == 11 else SCALAR.get(kind)


def field_line(owner, message, field):
    name, repeated = one(field, 1).decode(), one(field, 4) == 3
    value = map_value(message, one(field, 6).decode()) if one(field, 5) == 11 else None
    if value:
        text = "map[]" + type_of(value)
    else:
        text = type_of(field)
        if text is None:
            return None, None
        if name in INLINE or (owner == "core.Probe" and name == "handler"):
            text = "inline " + text
        elif repeated:
            text = "[]" + text
        elif text == "bool" and name in ZERO_BOOL or text == "int" and name in ZERO_INT or \
                (owner, name) in (("core.Probe", "timeoutSeconds"), ("apps.DeploymentStatus", "replicas")):
            text += "?"
    return f"  {one(field, 3)} {name} {text}", re.sub(r"^(\[\]|map\[\]|inline )", "", text).rstrip("?")


def main():
    messages = read(open(sys.argv[1], "rb").read())
    todo, done = list(ROOTS), set()
    out = {}
    while todo:
        name = todo.pop()
        if name in done or name not in messages:
            continue
        done.add(name)
        lines = []
        for number, field in records(messages[name]):
            if number == 2:
                line, below = field_line(name, messages[name], field)
                if line:
                    lines.append(line)
                    if "." in below:
                        todo.append(below)
        out[name] = lines
    for name in sorted(out):
        print(name)
        print("\n".join(out[name]) if out[name] else "", end="\n" if out[name] else "")


main()
