from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from node.isolation import REFUSED, sentence, why_not

pytestmark = pytest.mark.skipif(why_not() != "", reason="this machine has no system call filters")


def _isolated(code, *arguments, **more):
    """What a process says that isolated itself before it ran the code."""
    whole = f"from node.isolation import isolate\nassert isolate() == ''\n{code}"
    ended = subprocess.run([sys.executable, "-c", whole, *map(str, arguments)], capture_output=True, text=True, timeout=120, **more)
    return ended.stdout.strip() or ended.stderr.strip().splitlines()[-1]


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


def test_an_isolated_process_reaches_no_port_and_its_children_neither(listening):
    port = listening.getsockname()[1]
    connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
    assert subprocess.run([sys.executable, "-c", connect, str(port)]).returncode == 0 and listening.accept(), "without isolation it does"
    assert _isolated(connect, port) == "PermissionError: [Errno 1] Operation not permitted"
    child = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {connect!r}, *sys.argv[1:]]).returncode)"
    assert _isolated(child, port) == "PermissionError: [Errno 1] Operation not permitted"
    listening.settimeout(0)
    with pytest.raises(BlockingIOError):
        listening.accept()


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
def test_no_family_of_sockets_can_be_opened(family):
    code = f"import socket\ntry: socket.socket(socket.{family}, socket.SOCK_DGRAM)\nexcept PermissionError: print('refused')"
    assert _isolated(code) == "refused"


def test_pairs_of_sockets_and_threads_and_processes_stay():
    code = ("import concurrent.futures, multiprocessing, socket\n"
            "one, other = socket.socketpair(); one.send(b'x'); assert other.recv(1) == b'x'\n"
            "with concurrent.futures.ThreadPoolExecutor(2) as pool: assert list(pool.map(abs, [-1, 2])) == [1, 2]\n"
            "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]))")
    assert _isolated(code) == "[1, 2]"


def test_the_memory_of_the_node_is_out_of_reach():
    """ptrace(PTRACE_ATTACH) and pidfd_getfd, to the process that started it."""
    code = ("import ctypes, errno, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "assert libc.ptrace(16, os.getppid(), 0, 0) == -1 and ctypes.get_errno() == errno.EPERM\n"
            "assert libc.syscall(438, os.pidfd_open(os.getppid()), 1, 0) == -1 and ctypes.get_errno() == errno.EPERM\nprint('refused')")
    assert _isolated(code) == "refused" and {"ptrace", "pidfd_getfd"} <= set(REFUSED)


def test_no_core_is_dumped_and_no_privilege_gained():
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/status').read().count('NoNewPrivs:\\t1'))"
    assert _isolated(code) == "(0, 0) 1"


def test_the_check_says_whether_analyses_are_isolated(monkeypatch, tmp_path):
    assert sentence() == "isolation: analyses have no network"
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    assert "can open network connections" in sentence() and "Unable to find libseccomp" in sentence()
