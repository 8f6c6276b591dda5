#!/usr/bin/env python3
"""Who may include whom (docs/architecture.md). Fails on any other edge, and on a third-party header
outside of the one place it belongs to."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
FREE = ("tests", "bench")  # may include anything; nothing may include them

# A folder (longest prefix wins), and the folders that its files may include besides their own.
ALLOWED = {
    "bus/base": (),
    "bus/model": ("bus/base",),
    "bus/wire": ("bus/base", "bus/model"),
    "bus": ("bus",),
    "store": ("bus",),
    "actors/runtime": ("bus", "plugins/plugin.h"),
    "actors/kernel": ("bus", "actors/runtime"),
    "actors/api": ("bus", "actors/runtime"),
    "actors/scheduler": ("bus", "actors/runtime", "plugins/policy.h"),
    "actors/cli": ("bus", "actors/runtime"),
    "actors": ("bus", "actors/runtime"),
    "agent": ("bus", "actors/runtime"),
    "plugins/plugin.h": ("bus/base", "bus/model"),
    "plugins": (),
}

# A third-party header, and the only places that may name it.
THIRD_PARTY = {
    r"zmq\.h|czmq.*": ("bus/transport_zmq.c",),
    r"msgpack.*": ("bus/wire/", "bus/model/doc_write.c"),
    r"yaml\.h": ("bus/model/",),
    r"yajl/.*": ("bus/model/",),
    r"lmdb\.h": ("store/",),
    r"openssl/.*": ("actors/api/", "agent/"),
    r"nghttp2/.*": ("actors/api/http/",),
    r"http_parser\.h|llhttp\.h": ("actors/api/http/", "bus/http/"),
    r"curl/.*": ("actors/cli/",),
    r"archive.*": ("agent/image/",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def owner(path):
    parts = path.split("/")
    for n in range(len(parts), 0, -1):
        prefix = "/".join(parts[:n])
        if prefix in ALLOWED:
            return prefix
    return None


def edge_allowed(source, target):
    home = owner(source)
    if home is None or not (TOP / target).exists():
        return False
    if home == "plugins" and target.startswith("plugins/"):
        return pathlib.PurePath(source).parent == pathlib.PurePath(target).parent
    if target == home or target.startswith(home + "/"):
        return True
    return any(target == a or target.startswith(a + "/") for a in ALLOWED[home])


def third_party_problem(source, header):
    for pattern, places in THIRD_PARTY.items():
        if re.fullmatch(pattern, header) and not source.startswith(places):
            return f"{source}: <{header}> belongs to {' or '.join(places)}"
    return None


def main():
    problems, count, lmdb = [], 0, set()
    for path in sorted(TOP.rglob("*.[ch]")):
        source = path.relative_to(TOP).as_posix()
        top = source.split("/")[0]
        if top.startswith("build") or top.startswith("."):
            continue
        count += 1
        for quote, header in INCLUDE.findall(path.read_text()):
            if header == "lmdb.h":
                lmdb.add(source)
            if top in FREE:
                continue
            if quote == '"' and not edge_allowed(source, header):
                problems.append(f'{source}: may not include "{header}"')
            if quote == "<":
                problem = third_party_problem(source, header)
                if problem:
                    problems.append(problem)
    if len(lmdb - {s for s in lmdb if s.startswith(FREE)}) > 1:
        problems.append(f"lmdb.h in more than one file: {sorted(lmdb)}")
    for problem in problems:
        print(problem)
    print(f"{count} files, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
