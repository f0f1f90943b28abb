#!/usr/bin/env python3
"""Joins network namespaces by links that take time, where the kernel has no netem; as root.

    benchmarks/delayed_links.py MILLISECONDS NAMESPACE...

Each namespace gets a tap device of its own name; what is sent into one comes out of all others that
much later. Prints a line when the devices are there, and runs until it is ended.
"""

import collections
import contextlib
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST = 65536  # bytes of a frame


def enter(space):
    """Moves this process into a namespace; a device belongs to that in which it was opened."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(space) as file:
        if libc.setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns", space)


def open_tap(namespace):
    enter(f"/var/run/netns/{namespace}")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", namespace.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def relay(taps, seconds):
    waiting = collections.deque()  # (when it is due, where it came from, frame): in order of time
    while True:
        rest = waiting[0][0] - time.monotonic() if waiting else 1
        for tap in select.select(taps, [], [], max(0, rest))[0]:
            waiting.append((time.monotonic() + seconds, tap, os.read(tap, LONGEST)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, source, frame = waiting.popleft()
            for tap in taps:
                if tap != source:
                    with contextlib.suppress(OSError):  # a device that is down takes nothing
                        os.write(tap, frame)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    taps = [open_tap(namespace) for namespace in sys.argv[2:]]
    print("ready", flush=True)
    relay(taps, 1e-3 * float(sys.argv[1]))


if __name__ == "__main__":
    main()
