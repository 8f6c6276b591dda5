"""Ports for servers of tests."""
import pathlib
import random
import socket


def free_port():
    """A port outside of the range from which outgoing connections take theirs: it must still be free
    when the gateway comes back after it was killed, and no client may get it and connect to itself."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10240, max(first, 20480))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
