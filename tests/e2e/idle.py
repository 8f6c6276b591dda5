#!/usr/bin/env python3
"""An idle cluster does next to nothing: the processor time of all its processes over a minute stays
below one percent of a core. Processor time, not elapsed time: a busy machine does not change it."""
import os
import pathlib
import sys
import time

import cluster

MINUTE = 60.0
SHARE = 0.01
TICKS = os.sysconf("SC_CLK_TCK")


def pids(here):
    return set(here.processes("kubus")) | set(here.processes("sleep"))


def processor_seconds(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def name(pid):
    arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return " ".join(arguments[:3])


def main():
    with cluster.Cluster("idle") as here:
        here.kubectl("run", "quiet", "--image=busybox", "--", "sleep", "100000")
        here.kubectl("wait", "--for=condition=Ready", "pod/quiet", "--timeout=120s")
        before = {pid: processor_seconds(pid) for pid in pids(here)}
        time.sleep(MINUTE)  # the measured interval itself, not a wait for something
        used = {}
        for pid in pids(here):
            now = processor_seconds(pid)
            if now is not None:
                used[pid] = now - (before.get(pid) or 0.0)
        for pid, seconds in sorted(used.items(), key=lambda item: -item[1]):
            print(f"{seconds:7.2f} s  {name(pid)}")
        total = sum(used.values())
        print(f"{total:7.2f} s  all {len(used)} processes, {100 * total / MINUTE:.2f} % of a core")
        return 0 if total < SHARE * MINUTE else 1


if __name__ == "__main__":
    sys.exit(main())
