#!/usr/bin/env python3
"""A scheduling policy in Python: Kubus' policy `Remote` asks it about all nodes at once.

    ./judge.py DATA &
    kubus policy load Remote --args '{"service": "judge", "pods": 32, "labels": "tier"}'

It keeps pods with the label `tier` on nodes with the same, and prefers the node with the largest share
of memory left. Change `judge`, start it again: the scheduler asks the new one.
"""
import sys

from kubus_bus import Bus


def judge(question):
    """docs/protocol.md, section 9: the pod, and the nodes as columns; an answer for each node."""
    pod, nodes = question["pod"], question["nodes"]
    tier = pod["labels"].get("tier")
    tiers = nodes["labels"].get("tier", [""] * len(nodes["name"]))
    total, used = nodes["allocatable"]["memory"], nodes["requested"]["memory"]
    return {
        "filter": [int(tier is not None and there != tier) for there in tiers],
        "reasons": ["node(s) were of another tier"],
        "score": [100 * (t - u) // t if t > u else 0 for t, u in zip(total, used)],
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: judge.py DATA")
    bus = Bus(sys.argv[1], "judge")
    bus.serve({"policy.judge": judge})
    try:
        bus.run()
    except KeyboardInterrupt:
        pass
