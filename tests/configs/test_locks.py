"""Two commands on one folder: the second waits with a word, and no lock outlives its process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.locks import alone

ROOT = Path(__file__).parents[2]
HOLD = "with alone(folder):\n    print('inside', flush=True)\n    sys.stdin.readline()"
COUNT = """
for _ in range(60):
    with alone(folder):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a process that runs code on the folder ``stage``; it is killed at the end."""
    processes = []
    (tmp_path / "stage").mkdir()

    def make(code: str) -> subprocess.Popen[str]:
        # A suite that was started in the background has handed down that interrupts are ignored.
        head = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        head += "import sys\nfrom pathlib import Path\nfrom configs.locks import alone\n"
        code = f"{head}folder = Path({str(tmp_path / 'stage')!r})\n{code}"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, **pipes))
        return processes[-1]

    yield make
    for process in processes:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_the_second_waits_and_is_told_for_whom_until_the_first_has_ended(start, tmp_path, ending):
    first = start(HOLD)
    assert line(first) == "inside"
    second = start(HOLD)
    assert line(second).startswith(f"{tmp_path / 'stage'} is in use by process {first.pid} (-c, since ")
    assert second.poll() is None
    first.send_signal(ending)
    assert line(second) == "inside"
    assert str(second.pid) in (tmp_path / ".stage.lock").read_text()  # so that a third is told of the second


def test_a_folder_is_free_again_and_nothing_is_left(tmp_path):
    def broken():
        with alone(tmp_path / "stage"):
            assert (tmp_path / ".stage.lock").exists()
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            broken()
    assert not list(tmp_path.iterdir())


def test_only_one_at_a_time(start, tmp_path):
    """Also where a lock's file is removed while others wait for it."""
    (tmp_path / "stage" / "number").write_text("0")
    processes = [start(COUNT) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "stage" / "number").read_text() == "180"


def test_where_no_lock_can_be_had_the_work_goes_on(tmp_path):
    (tmp_path / "file").touch()
    entered = False
    with alone(tmp_path / "file" / "stage"):
        entered = True
    assert entered
