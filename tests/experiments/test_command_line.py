"""``fer-core run`` as a user meets it, in processes of its own, on a miniature FERPlus."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fer_core
from fer_core import cli, records

UNTRAINED = ("--set", "backbone=embedded:random")


@pytest.fixture
def command(ferplus, tmp_path):
    """Arguments and options of a process that runs CoOp's smoke profile, and writes to a folder of records."""

    def make(*arguments, folder="records"):
        line = [sys.executable, "-m", "fer_core.cli", "run", "coop-ferplus", "--profile", "smoke", "--device", "cpu"]
        line += ["--data-root", str(ferplus), "--records", str(tmp_path / folder), *UNTRAINED, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(Path(fer_core.__file__).parents[1])}
        return {"args": line, "env": environment, "text": True}

    return make


def finish(options):
    return subprocess.run(**options, capture_output=True, check=False)


def here(options):
    """The same command in this process; its exit code."""
    line = options["args"]
    return cli.main(line[line.index("run") :])


def truncate_image(root):
    image = sorted((root / "FER2013Test").glob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:700])


def empty_folder(root):
    for path in sorted(root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def wrong_label_file(root):
    (root / "FER2013Train" / "label.csv").write_text("emotion,pixels,Usage\n0,70 80 82,Training\n")


def unknown_class(root):
    label = root / "FER2013Train" / "label.csv"
    label.write_text("".join(f"{line},3\n" for line in label.read_text().splitlines()))


def told_alone(done):
    """Standard error without notes of progress."""
    return [line for line in done.stderr.splitlines() if not line.startswith("decoding ")]


def test_a_truncated_image_is_one_line_and_exit_code_2(command, ferplus, tmp_path):
    truncate_image(ferplus)
    done = finish(command())
    (line,) = told_alone(done)
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith("fer-core: error: ")
    assert "expected a whole PNG" in line
    assert not (tmp_path / "records").exists()


# The same mistakes as the process above would meet them, without one process for each.
@pytest.mark.parametrize(
    ("damage", "arguments", "expected"),
    [
        (empty_folder, (), "expected FER2013Train/ or FER2013Train.zip, found neither"),
        (wrong_label_file, (), "label.csv, line 1: expected 12 columns"),
        (unknown_class, (), "line 1: expected 12 columns (file, box and ten votes), got '13 columns'"),
        (None, ("--set", "training.augmentation.flips=0.5"), "'flips'; did you mean 'flip'?"),
        (None, ("--set", "model.context_lenght=8"), "'context_lenght'; did you mean 'context_length'?"),
        (None, ("--device", "cuda:99"), "device: expected one that this machine has, got 'cuda:99'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(damage, arguments, expected, command, ferplus, tmp_path, capsys):
    if damage:
        damage(ferplus)
    assert here(command(*arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("fer-core: error: ")
    assert expected in printed.err
    assert not (tmp_path / "records").exists()


def test_two_runs_with_one_seed_give_equal_records(command, tmp_path, capsys):
    line = ("--seed", "0,3", "--json", "--quiet")
    done = finish(command(*line, folder="one"))
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert here(command(*line, folder="two")) == 0
    assert capsys.readouterr().err == ""
    one, two = (list(records.iterate(tmp_path / folder)) for folder in ("one", "two"))
    assert [record.seed for record in one] == [0, 3]
    assert all(records.same_result(*pair) for pair in zip(one, two, strict=True))
    assert not records.same_result(*one)
    assert [each["metrics"] for each in printed] == [record.metrics for record in one]


def test_a_record_that_is_there_is_kept_and_told(command, tmp_path, capsys):
    assert here(command()) == 0
    told = capsys.readouterr().out
    assert told.startswith("coop-ferplus smoke seed 0 on 24 samples: WAR ")
    (path,) = (tmp_path / "records").rglob("*.json")
    written = path.stat().st_mtime_ns
    second = finish(command())
    assert second.stdout == told
    assert "--force runs it again" in second.stderr
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_leaves_no_record(number, code, command, tmp_path):
    options = command("--set", "training.epochs=100000")
    # Whoever runs the tests in the background of a shell has interrupts ignored, and so would the child.
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "from fer_core.cli import main; sys.exit(main())"
    arguments = options.pop("args")
    process = subprocess.Popen(
        [sys.executable, "-c", start, *arguments[arguments.index("run") :]],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        deadline = time.monotonic() + 300
        while not (line := process.stderr.readline()).startswith("epoch 3/"):
            assert line, "it ended before it was stopped"
            assert time.monotonic() < deadline
        process.send_signal(number)
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code
    assert list(tmp_path.glob("records/**/*")) == []
    if number == signal.SIGINT:
        assert told.splitlines()[-1].startswith("fer-core: interrupted; no record was written")
        assert "Traceback" not in told


def test_a_preempted_run_goes_on_where_it_stopped(command, tmp_path, capsys):
    settings = ["--set", "training.epochs=8", "--set", "training.batch_size=1", "--set", "training.precision=fp32"]
    assert here(command(*settings, folder="whole")) == 0
    options = command(*settings, "--checkpoint-seconds", "0")
    cache = Path(os.environ["FER_CACHE"]) / "checkpoints"
    process = subprocess.Popen(**options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if list(cache.glob("*.safetensors")):
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        out, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == cli.STOPPED, error
    assert "fer-core: stopped by SIGUSR1 after epoch" in error
    assert out == ""
    assert not (tmp_path / "records").exists()
    assert here(command(*settings)) == 0
    assert "going on after epoch" in capsys.readouterr().err
    (one,), (other,) = (list(records.iterate(tmp_path / folder)) for folder in ("whole", "records"))
    assert records.same_result(one, other)
    assert not list(cache.iterdir())  # a finished run leaves none
