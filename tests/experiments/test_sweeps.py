"""Sweeps: which runs, what becomes of each, and the table of them."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import fer_core
from fer_core import cli, experiments, records, sweeps, tables
from fer_core.errors import Stopped, UserError
from fer_core.sweep_jobs import Job, grid
from fer_core.sweeps import Options, Outcome

UNTRAINED = {"backbone": "embedded:random"}


@pytest.fixture
def options(ferplus, tmp_path):
    return Options("cpu", str(ferplus), str(tmp_path / "records"))


def test_a_grid_is_every_combination():
    jobs = grid(
        ["coop-ferplus", "zero-shot-ferplus"], "smoke", [0, 1], settings={"data.votes": ["majority", "probability"]},
        common=UNTRAINED,
    )  # fmt: skip
    assert len(jobs) == len(set(map(str, jobs))) == 8
    assert jobs[1] == Job("coop-ferplus", "smoke", 1, {**UNTRAINED, "data.votes": "majority"})
    assert str(jobs[1]) == "coop-ferplus smoke seed 1 backbone=embedded:random data.votes=majority"
    folds = grid(["zero-shot-dfew"], "paper", [0], folds=[1, 2, 3])
    assert [job.overrides for job in folds] == [{"data.fold": fold} for fold in (1, 2, 3)]


def test_a_table_is_run_cell_by_cell_and_no_run_twice():
    jobs = grid([], "full", [0, 1], shown_in=["few-shot-facs-still-8"])
    shown = tables.build("few-shot-facs-still-8")
    commands = {f"{job.experiment} {sorted(job.overrides.items())}" for job in jobs}
    assert len(commands) == len(jobs) / 2 == len(shown.rows) * len(shown.columns)
    assert {job.overrides["data.shots"] for job in jobs} == {1, 2, 4, 8, 16}
    # Two columns of one data set are one run; an ablation is a table, and a row of another profile is none of this one.
    baselines = grid([], "full", [0], shown_in=["baselines-ferplus"])
    assert [job.experiment for job in baselines] == [
        f"{name}-ferplus" for name in ("zero-shot", "linear-probe", "coop", "full-fine-tuning")
    ]
    assert {job.profile for job in grid([], "paper", [0], shown_in=["baselines-ferplus"])} == {"paper"}
    ablation = "les-clip-facs-still-8:loss"
    rows = grid(["les-clip-facs-still-8"], "full", [0], ablations=["loss"])
    assert grid([], "full", [0], shown_in=[ablation]) == rows
    some = grid(["coop-*"], "full", [0], shown_in=["few-shot-*"])
    assert {job.experiment for job in some} == {"coop-facs-still-8", "coop-ferplus", "coop-facs-clip-7"}


@pytest.mark.parametrize(
    ("patterns", "shown_in", "ablations", "message"),
    [
        ([], [], [], "expected experiments or tables to run, got neither"),
        (["coop-*"], ["few-shot-facs-still-8"], ["all"], "expected ablations or tables, got both"),
        ([], ["few-shot-facs-still"], [], "did you mean 'few-shot-facs-still-8'"),
        (["clip-au-facs-pain"], ["few-shot-facs-still-8"], [], "expected rows of the profile full in few-shot-facs"),
    ],
)
def test_tables_that_cannot_be_run_are_told(patterns, shown_in, ablations, message):
    with pytest.raises(UserError, match=message):
        grid(patterns, "full", [0], ablations=ablations, shown_in=shown_in)


def test_a_row_that_is_asked_for_another_value_is_told():
    asked = {"patterns": ["fine-cliper-facs-clip-7"], "profile": "full", "seeds": [0], "ablations": ["frames"]}
    with pytest.raises(UserError, match=r"data\.limit\.train: expected 840 or nothing, .* got \[70\]"):
        grid(**asked, common={"data.limit.train": 70})
    with pytest.raises(UserError, match=r"data\.frames: expected 1 or nothing, since a row of the table sets it"):
        grid(**asked, settings={"data.frames": [1, 2]})
    with pytest.raises(UserError, match=r"train_on\.limit\.train: expected 840 or nothing"):
        grid([], "full", [0], shown_in=["clips-facs-across"], common={"train_on.limit.train": 70})
    # What a row says already may be said again, and what it does not say is set for all.
    plain = grid(**asked)
    assert grid(**asked, common={"data.limit.train": 840}) == plain
    rates = grid(**asked, settings={"training.lr": [1e-3, 1e-4]})
    assert [job.overrides["training.lr"] for job in rates] == [1e-3, 1e-4] * len(plain)


def test_an_ablation_is_run_row_by_row_and_no_run_twice():
    name = "les-clip-facs-still-8"
    table = experiments.load(name).ablations["loss"]
    jobs = grid([name], "full", [0, 1], ablations=["loss"])
    assert [job.overrides for job in jobs[::2]] == [table.settings(title) for title in table.rows]
    everything = grid([name], "full", [0], ablations=["all"])
    assert len(everything) == len(set(map(str, everything)))
    assert {job.experiment for job in everything} == {name, "zero-shot-facs-still-8"}
    assert everything[0] == Job("zero-shot-facs-still-8", "full", 0)
    with pytest.raises(UserError, match="ablation of les-clip-facs-still-8 'los'; did you mean 'loss'"):
        grid([name], "full", [0], ablations=["los"])


def test_an_ablation_is_run_with_the_profile_that_its_table_shows():
    frames = grid(["fine-cliper-dfew"], "paper", [0], ablations=["frames"])
    assert [(job.profile, job.overrides) for job in frames] == [
        ("paper", {"data.frames": 4}), ("paper", {"data.frames": 8}), ("paper", {})
    ]  # fmt: skip
    with pytest.raises(UserError, match="expected --profile paper, which the table fine-cliper-dfew:frames shows, got"):
        grid(["fine-cliper-dfew"], "smoke", [0], ablations=["frames"])
    with pytest.raises(UserError, match=r"expected --profile full, .*, got quick; name that one"):
        grid(["les-clip-facs-still-8"], "quick", [0], ablations=["loss"])
    both = ["fine-cliper-dfew", "fine-cliper-facs-clip-7"]
    assert grid(both, "paper", [0], ablations=["all"]) == frames
    with pytest.raises(UserError, match="expected ablations of the profile smoke of fine-cliper-dfew, got none"):
        grid(["fine-cliper-dfew"], "smoke", [0], ablations=["all"])


def test_patterns_find_experiments_that_have_the_profile():
    found = {job.experiment for job in grid(["coop-*", "*-facs-still-8"], "full", [0])}
    expected = {name for name in experiments.names() if name.startswith("coop-") or name.endswith("-facs-still-8")}
    assert found == {name for name in expected if "full" in experiments.load(name).profiles}
    assert {"coop-ferplus", "zero-shot-facs-still-8"} <= found


@pytest.mark.parametrize(
    ("patterns", "profile", "settings", "message"),
    [
        (["coop-ferpluss"], "smoke", {}, "did you mean 'coop-ferplus'"),
        (["zzz-*"], "smoke", {}, r"unknown experiment 'zzz-\*'"),
        (["*-rafdb*", "*-raf-db"], "full", {}, "unknown experiment"),
        (["*-raf-db"], "full", {}, "expected an experiment .* with a profile full, got none"),
        (["coop-ferplus"], "smoke", {"training.lrr": [1]}, "did you mean 'lr'"),
        (["coop-ferplus"], "smoke", {"training.lr": [1.0, -1.0]}, "lr: expected a number above 0"),
    ],
)
def test_mistakes_are_told_before_anything_runs(patterns, profile, settings, message):
    with pytest.raises(UserError, match=message):
        grid(patterns, profile, [0], settings=settings)


def test_one_failure_does_not_stop_the_others_and_a_second_sweep_runs_what_is_missing(options, monkeypatch):
    jobs = grid(["coop-ferplus"], "smoke", [0, 1, 2], common={**UNTRAINED, "training.epochs": 1})
    run, ran = experiments.run, []

    def breaking(name, profile, seed, **settings):
        ran.append(seed)
        if seed == 1 and len(ran) == 2:
            raise ZeroDivisionError("a fault")
        return run(name, profile, seed, **settings)

    monkeypatch.setattr(experiments, "run", breaking, raising=False)
    told = []
    outcomes = sweeps.run(jobs, options, told.append)
    assert [outcome.error for outcome in outcomes] == ["", "ZeroDivisionError: a fault", ""]
    assert told == outcomes
    written = {path: path.stat().st_mtime_ns for path in _files(options.records_dir)}
    assert len(written) == 2
    again = sweeps.run(jobs, options)
    assert all(outcome.record for outcome in again)
    assert len(_files(options.records_dir)) == 3
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in written.items())


def _files(folder):
    return sorted(Path(folder).rglob("*.json"))


def test_preemption_ends_a_sweep(options, monkeypatch):
    def stopped(*_, **__):
        raise Stopped("stopped by SIGTERM", "SIGTERM")

    monkeypatch.setattr(experiments, "run", stopped, raising=False)
    with pytest.raises(Stopped):
        sweeps.run(grid(["coop-ferplus"], "smoke", [0], common=UNTRAINED), options)


def test_several_at_once_give_the_same_records(options, tmp_path):
    jobs = grid(["zero-shot-ferplus"], "smoke", [0, 1], common=UNTRAINED)
    alone = sweeps.run(jobs, options)
    at_once = Options("cpu", options.data_root, str(tmp_path / "others"), at_once=2)
    together = sweeps.run(jobs, at_once)
    for one, other in zip(alone, together, strict=True):
        assert one.job == other.job
        assert records.same_result(one.record, other.record)


def test_runs_at_once_share_the_gpus_that_are_free(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    used = []
    monkeypatch.setattr(sweeps, "_one", lambda job, options: used.append(options.device) or Outcome(job))
    for device, expected in (("auto", ["cuda:0", "cuda:1", "cuda:0"]), ("cuda", None), ("cuda:1", ["cuda:1"] * 3)):
        devices = sweeps._devices(Options(device, at_once=3), multiprocessing.get_context("spawn"))
        sweeps._take(devices)
        first, second = devices.get(), devices.get()  # two runs are at work
        used.clear()
        for _ in range(2):  # the third device serves one run after another
            sweeps._apart(Job("coop-ferplus", "smoke", 0), Options(device, at_once=3))
        third = devices.get()
        assert [first, second, third] == (expected or ["cuda:0", "cuda:1", "cuda:0"])
        assert used == [third, third]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_stopped_sweep_stops_its_processes_in_one_line(sent, ferplus, tmp_path):
    line = [
        "sweep", "full-fine-tuning-ferplus", "--profile", "smoke", "--seed", "0,1,2", "--set", "training.epochs=3000",
        "--set", "backbone=embedded:random", "--at-once", "2", "--device", "cpu", "--data-root", str(ferplus),
        "--records", str(tmp_path / "records"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(fer_core.__file__).parents[1]), "FER_CACHE": str(tmp_path)}
    # A shell's background jobs ignore Ctrl-C, and what they start does, too.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "import sys; from fer_core import cli; sys.exit(cli.main())"
    with subprocess.Popen(
        [sys.executable, "-c", start, *line], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=environment,
    ) as sweep:  # fmt: skip
        children = []
        try:
            while len(children) < 2:  # of the pool; one more is multiprocessing's own
                time.sleep(0.5)
                below = psutil.Process(sweep.pid).children(recursive=True)
                children = [each for each in below if "spawn_main" in " ".join(each.cmdline())]
                assert sweep.poll() is None
            time.sleep(3)
            (os.killpg if sent == signal.SIGINT else os.kill)(sweep.pid, sent)  # Ctrl-C reaches the whole group
            _, told = sweep.communicate(timeout=120)
        except BaseException:  # one that goes on would keep the tests, and both cores, for hours
            os.killpg(sweep.pid, signal.SIGKILL)
            raise
    assert sweep.returncode == (130 if sent == signal.SIGINT else 75), told
    assert "Traceback" not in told
    assert not any(each.is_running() for each in children)
    assert not (tmp_path / "records").exists()


def test_a_process_that_died_is_a_failed_run():
    lost: Future[Outcome] = Future()
    lost.set_exception(BrokenProcessPool("killed"))
    job = Job("coop-ferplus", "smoke", 0)
    told = sweeps._result(lost, job)
    assert (told.job, told.record) == (job, None)
    assert "a process of this sweep died" in told.error


def test_submits_through_submitit(options, tmp_path):
    pytest.importorskip("submitit", reason="submitit is an extra that is not installed")
    jobs = grid(["zero-shot-ferplus"], "smoke", [0], common=UNTRAINED)
    (submitted,) = sweeps.submit(jobs, options, tmp_path / "sweeps", {"timeout_min": 5}, "local")
    outcome = submitted.result()
    assert outcome.job == jobs[0]
    assert outcome.record.path == records.read(_files(options.records_dir)[0]).path
    with pytest.raises(UserError, match="expected local with these parameters"):
        sweeps.submit(jobs, options, tmp_path / "sweeps", {"timeout_mn": 5}, "local")
    with pytest.raises(UserError, match="cluster: expected slurm"):
        sweeps.submit(jobs, options, tmp_path / "sweeps", {}, "slurm")  # there is none here


def test_a_preempted_task_is_queued_again():
    submission = pytest.importorskip("submitit").helpers.DelayedSubmission
    task = sweeps.Task(Job("coop-ferplus", "smoke", 0), Options())
    again = task.checkpoint()
    assert isinstance(again, submission)
    assert again.function.job == task.job


@pytest.mark.parametrize("queued", [True, False])
def test_a_task_wakes_submitits_handler_where_its_own_signal_came_and_not_where_it_was_cancelled(queued, monkeypatch):
    own = f"SIG{pytest.importorskip('submitit').JobEnvironment.USR_SIG}"

    def stopped(*_, **__):
        raise Stopped("stopped", own if queued else "SIGTERM")

    monkeypatch.setattr(sweeps, "_one", stopped)
    heard, numbers = [], [signal.SIGUSR1, signal.SIGUSR2]
    before = [signal.signal(number, lambda number, _: heard.append(signal.Signals(number).name)) for number in numbers]
    try:
        with pytest.raises(Stopped):
            sweeps.Task(Job("coop-ferplus", "smoke", 0), Options())()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert heard == ([own] if queued else [])


def test_rows_are_means_over_seeds_and_folds(options):
    jobs = grid(
        ["coop-ferplus"], "smoke", [0, 1], settings={"training.lr": [0.01, 0.1]},
        common={**UNTRAINED, "training.epochs": 1},
    )  # fmt: skip
    outcomes = [*sweeps.run(jobs, options), Outcome(Job("coop-ferplus", "smoke", 9, jobs[0].overrides), error="x")]
    first, second = sweeps.gather(outcomes)
    assert (first["runs"], first["failed"], second["runs"], second["failed"]) == (2, 1, 2, 0)
    war = [100 * outcome.record.metrics["war"] for outcome in outcomes[:2]]
    assert first["war"] == pytest.approx(sum(war) / 2)
    assert first["war_sd"] == pytest.approx(abs(war[0] - war[1]) / 2**0.5)
    validation = [100 * outcome.record.history[0]["validation"]["war"] for outcome in outcomes[:2]]
    assert first["validation_war"] == pytest.approx(sum(validation) / 2)


def test_a_seed_counts_by_the_mean_over_its_folds():
    def told(seed, fold, war):
        record = SimpleNamespace(
            seed=seed, fold=fold, metrics={"war": war, "uar": war, "validation": {"war": war}}, history=[], selection={}
        )
        return Outcome(Job("x-dfew", "paper", seed, {"data.fold": fold}), record)

    runs = [told(seed, fold, 0.6 + 0.05 * fold + 0.001 * seed) for seed in (0, 1) for fold in (1, 2, 3)]
    (row,) = sweeps.gather([*runs, told(2, 1, 0.1)])  # a seed that lacks folds would tilt the mean
    assert (row["war"], row["uar"], row["validation_war"]) == pytest.approx((70.05, 70.05, 70.05))
    assert row["war_sd"] == pytest.approx(0.1 / 2**0.5)
    assert row["runs"] == 7


def test_the_command_lists_runs_and_gathers_a_table(ferplus, tmp_path, capsys):
    common = ["zero-shot-ferplus", "--profile", "smoke", "--set", "backbone=embedded:random"]
    common += ["--data-root", str(ferplus), "--records", str(tmp_path / "records"), "--device", "cpu"]
    assert cli.main(["sweep", *common, "--seed", "0,1", "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert not (tmp_path / "records").exists()
    assert cli.main(["sweep", *common, "--grid", "model.words=[noun,adjective]", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["settings"].split()[-1] for row in rows] == ["model.words=noun", "model.words=adjective"]
    assert cli.main(["sweep", *common, "--grid", "model.words=noun"]) == 2
    assert "write model.words=[A,B]" in capsys.readouterr().err
    assert cli.main(["sweep", *common, "--cluster", "local", "--at-once", "3"]) == 2
    assert "--parameter slurm_array_parallelism=3" in capsys.readouterr().err
    assert cli.main(["sweep", *common, "--data-root", str(tmp_path / "nowhere"), "--seed", "5"]) == 1
    captured = capsys.readouterr()
    assert "| zero-shot-ferplus |" in captured.out
    assert "fer-core: failed: zero-shot-ferplus smoke seed 5" in captured.err


def test_listing_a_sweep_does_not_need_torch():
    code = "import sys; from fer_core import cli; cli.parser(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
