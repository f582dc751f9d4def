"""Tasks in processes: their answers, their output, how they may break, and that none outlives who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prerank.experiment.pool import Task, carry_out

TASKS = """
import os, sys, time

def double(number):
    print(f"doubling {number}")
    return [2 * number]

def count(to):
    yield from range(to)

def thread_counts():
    yield os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]

def span(seconds):
    start = time.time()
    time.sleep(seconds)
    yield start, time.time()

def breaks():
    yield "first"
    raise ValueError("it broke")

def exits():
    yield "first"
    sys.exit(0)

def is_killed():
    yield "first"
    os.kill(os.getpid(), 9)

def waits():
    yield os.getpid()
    time.sleep(600)
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """The module above, where processes find it."""
    (tmp_path / "tasks_of_a_test.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    return "tasks_of_a_test"


@pytest.fixture
def start(tmp_path, tasks):
    """Carries out tasks of the module above, given as (function, arguments); returns what was heard."""

    def make(*asked, processes=1, hear=None):
        answers = []
        carry_out(
            [Task(name, f"{tasks}:{name}", arguments, tmp_path / "out" / "log") for name, arguments in asked],
            processes,
            hear or (lambda answer: answers.append((answer.subject, answer.error or answer.content))),
        )
        return answers

    return make


def gone(pid):
    """Whether a process has ended, within some seconds; one whose status nobody has asked for counts as ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_answers_in_order_and_output_in_a_file(start, tmp_path, capfd):
    answers = start(("double", {"number": 4}), ("count", {"to": 3}), ("double", {"number": 5}))
    assert answers == [("double", 8), ("count", 0), ("count", 1), ("count", 2), ("double", 10)]
    assert (tmp_path / "out" / "log").read_text() == "doubling 4\ndoubling 5\n"
    assert capfd.readouterr() == ("", "")


def test_one_thread_and_no_device(start):
    assert start(("thread_counts", {})) == [("thread_counts", ["1", "1", ""])]


def test_as_many_processes_at_a_time_as_asked_for(start):
    spans = [span for _, span in start(*[("span", {"seconds": 0.3})] * 4, processes=2)]
    overlapping = [sum(begun < stop and ended > start for begun, ended in spans) for start, stop in spans]
    assert 2 <= max(overlapping) <= 3  # itself, the one beside it, and the one that took its place


def test_a_task_is_taken_when_a_process_is_free(tmp_path):
    """What comes next may depend on what was heard."""
    heard = []

    def tasks():
        while len(heard) < 3:
            yield Task(None, "math:frexp", {}, tmp_path / "log")

    carry_out(tasks(), 1, heard.append)
    assert len(heard) == 3


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("breaks", "ValueError: it broke"),
        ("exits", "its process ended with status 0 before it was done"),
        ("is_killed", "its process ended with status -9 before it was done"),
    ],
)
def test_a_task_that_breaks_breaks_no_other(start, function, error):
    answers = start((function, {}), ("double", {"number": 1}))
    assert answers == [(function, "first"), (function, error), ("double", 2)]


def test_a_function_that_does_not_exist_is_an_error_with_its_traceback_in_the_output(start, tmp_path):
    ((_, error),) = start(("nothing", {}))
    assert error.startswith("AttributeError: module 'tasks_of_a_test' has no attribute 'nothing'")
    assert "Traceback" in (tmp_path / "out" / "log").read_text()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_error_in_hearing_ends_the_processes(start, interruption):
    pids = []

    def hear(answer):
        pids.append(answer.content)
        raise interruption

    with pytest.raises(interruption):
        start(("waits", {}), hear=hear)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.usefixtures("tasks")
def test_no_process_outlives_a_command_that_is_killed(tmp_path):
    command = (
        "from pathlib import Path\nfrom prerank.experiment.pool import Task, carry_out\n"
        f"task = Task(None, 'tasks_of_a_test:waits', {{}}, Path({str(tmp_path)!r}) / 'log')\n"
        "carry_out([task, task], 2, lambda answer: print(answer.content, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        workers = [int(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert all(gone(worker) for worker in workers)


def test_the_worker_alone_says_what_starts_it():
    worker = [sys.executable, "-m", "prerank.experiment.worker"]
    ended = subprocess.run(worker, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "expected a task on the input" in ended.stderr
