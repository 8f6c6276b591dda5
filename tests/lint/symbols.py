#!/usr/bin/env python3
"""Modules and plugins take the bus from the program that loads them: every kb_ symbol that one lacks
must be exported there (KB_API in its header), and none may bring a copy of its own.

    symbols.py PROGRAM MODULE.so …
"""
import subprocess
import sys


def symbols(path, which):
    out = subprocess.run(["nm", "-D", which, path], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines()}


def main():
    program, loaded = sys.argv[1], sys.argv[2:]
    exported = symbols(program, "--defined-only")
    problems = []
    for path in loaded:
        missing = {s for s in symbols(path, "--undefined-only") if s.startswith("kb_")} - exported
        copied = symbols(path, "--defined-only") & exported - {"kb_module_main"}
        problems += [f"{path}: {s} is not exported by the program" for s in sorted(missing)]
        problems += [f"{path}: has its own copy of {s}" for s in sorted(copied) if s.startswith("kb_")]
    for problem in problems:
        print(problem)
    print(f"{len(loaded)} modules and plugins, {len(problems)} problems")
    return 1 if problems or not loaded else 0


if __name__ == "__main__":
    sys.exit(main())
