"""The isolation of an analysis: its process opens no socket, to nobody, and neither does anything that it starts.

Images come from outside, and the libraries that decode them are large. A system call filter (seccomp, seccomp(2)) is laid on the process
before anything else is imported; it needs no privilege, works in a container, and holds for all descendants (no_new_privs). `socket` fails
with EPERM for every family, so also for the sockets of other programs of the machine; pairs of connected sockets stay. Refused as well is
what would lead around it: io_uring, and to look into or take a file of another process, such as the node. No core is dumped, as it would
hold the images. Where the kernel or libseccomp does not have that, the analysis goes on without it, and the log and `betz check` say so.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

REFUSED = ("socket", "io_uring_setup", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
_TRIAL = ("import socket, sys; from node.isolation import isolate\n"
          "if why := isolate(): sys.exit(why)\n"
          "try: socket.socket()\n"
          "except PermissionError: sys.exit(0)\n"
          "sys.exit('a socket can be opened all the same')")


def isolate() -> str:
    """Lay the filter on this process, for good. Why that cannot be, or ""."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        import pyseccomp

        rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        for call in REFUSED:
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), call)
        rules.load()
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        return f"libseccomp or the kernel does not offer it ({error})"
    return ""


def why_not() -> str:
    """Why analyses of this machine are not isolated, or "": it is tried, in a process of its own."""
    try:
        ended = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, text=True, timeout=60, env=os.environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be tried ({type(error).__name__})"
    said = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
    return "" if ended.returncode == 0 else said[-1]


def sentence() -> str:
    """Whether analyses are isolated, for a person."""
    why = why_not()
    return f"isolation: analyses can open network connections: {why}; install libseccomp2" if why else "isolation: analyses have no network"
