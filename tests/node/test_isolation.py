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


def test_the_libraries_and_programs_of_an_analysis_work(tmp_path, mr):
    """dcm2niix as a process, a registration by ANTs with its threads, SimpleITK, and a page."""
    for number in range(12):
        mr(number=number, size=32, seed=number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    code = ("import sys; from pathlib import Path; import numpy as np\n"
            "from node.conversion import converted; from node.study import read_studies\n"
            "study, = read_studies(Path(sys.argv[1]))[0]\n"
            "with converted(study.series[0]) as outputs: array = np.squeeze(outputs[0].load()[0])\n"
            "import ants, SimpleITK\n"
            "box = np.zeros((24, 24, 24), np.float32); box[8:16, 6:18, 9:15] = 1\n"
            "found = ants.registration(ants.from_numpy(box), ants.from_numpy(np.roll(box, 2, 0)), 'Rigid')['warpedmovout'].numpy()\n"
            "blurred = SimpleITK.GetArrayFromImage(SimpleITK.SmoothingRecursiveGaussian(SimpleITK.GetImageFromArray(box)))\n"
            "import matplotlib; matplotlib.use('agg'); from matplotlib import pyplot; pyplot.imshow(box[12]); pyplot.savefig(sys.argv[2])\n"
            "print(array.shape, bool(np.isfinite(found).all() and found.max() > 0.5), bool(blurred.std() < box.std()))")
    assert _isolated(code, tmp_path, tmp_path / "page.png") == "(32, 32, 12) True True" and (tmp_path / "page.png").exists()


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
