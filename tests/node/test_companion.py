"""A function in a second process: its result, its failures in words, and that nothing of it is left."""

import gc
import multiprocessing.process
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from node.companion import Companion
from node.errors import JobError


def twice(number: int) -> tuple[int, int]:
    return os.getpid(), 2 * number


def failing() -> None:
    raise KeyError("Secret^Patient")


def not_to_be_pickled() -> object:
    return lambda: None


def halfway() -> None:
    """Ends in the middle of a result that is larger than a pipe holds."""
    (end,) = (one for one in gc.get_objects() if isinstance(one, Connection) and one.writable)
    os.write(end.fileno(), (2**20).to_bytes(4, "big") + b"x" * 100)
    os.kill(os.getpid(), signal.SIGKILL)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeping(file: Path) -> None:
    Path(tempfile.mkdtemp(), "left").write_text("over")
    file.write_text(f"{os.getpid()}\n{tempfile.gettempdir()}")
    time.sleep(600)


def begun(file: Path) -> tuple[int, Path]:
    """Process id and temporary folder of `sleeping`."""
    end = time.monotonic() + 60
    while not (file.exists() and len(said := file.read_text().splitlines()) == 2):
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(said[0]), Path(said[1])


def gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.02)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_gives_what_the_function_gives_from_another_process():
    with Companion(twice, 21) as companion:
        pid, number = companion.result(60)
    assert number == 42 and pid != os.getpid() and gone(pid)


def test_an_error_is_its_kind_and_place_without_what_it_quotes():
    with Companion(failing) as companion, pytest.raises(JobError, match=r"KeyError in test_companion\.py") as error:
        companion.result(60)
    assert "Secret" not in str(error.value)


@pytest.mark.parametrize("work", [killed, halfway])
def test_a_process_that_is_killed_is_said(work):
    with Companion(work) as companion, pytest.raises(JobError, match="ended with status -9"):
        companion.result(60)


def test_a_result_that_cannot_be_handed_over_is_a_reason(capfd):
    with Companion(not_to_be_pickled) as companion, pytest.raises(JobError, match="companion"):
        companion.result(60)
    assert capfd.readouterr().err == ""


def test_where_no_process_can_be_started_that_is_said(monkeypatch):
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda process: (_ for _ in ()).throw(OSError(11, "no more")))
    with Companion(twice, 21) as companion, pytest.raises(JobError, match="could not be started"):
        companion.result(60)


def test_it_is_ended_with_the_block_and_leaves_no_file(tmp_path):
    file = tmp_path / "said"
    with Companion(sleeping, file) as companion:
        pid, scratch = begun(file)
        with pytest.raises(JobError, match="too long"):
            companion.result(0)
        assert list(scratch.rglob("left"))
    assert gone(pid) and not scratch.exists()


def test_it_is_ended_with_the_process_that_began_it(tmp_path):
    file = tmp_path / "said"
    code = f"""if __name__ == "__main__":
    import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})
    from pathlib import Path
    import test_companion
    from node.companion import Companion
    with Companion(test_companion.sleeping, Path({str(file)!r})):
        time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        pid, _ = begun(file)
    finally:
        parent.kill()
        parent.wait()
    assert gone(pid)


def test_an_analysis_that_is_isolated_has_one_too():
    code = f"""if __name__ == "__main__":
    import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
    import test_companion
    from node.companion import Companion
    from node.isolation import isolate
    isolate()
    with Companion(test_companion.twice, 21) as companion:
        print(companion.result(60)[1])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.stdout, ended.stderr) == ("42\n", "")
