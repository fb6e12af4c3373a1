"""Many runs, here or on a SLURM cluster.

Runs whose records are there are not run again, one that fails does not stop the others, and a run that a cluster
preempts goes on from its checkpoint.
"""

import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fer_core import experiments, tables
from fer_core.engine.preemption import stoppable
from fer_core.errors import Stopped, UserError
from fer_core.records import Record
from fer_core.sweep_jobs import Job

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What became of a job.

    Args:
        job: The job.
        record: Its record; None where it failed or is still under way.
        error: Why it failed, in one line; empty where it did not.
    """

    job: Job
    record: Record | None = None
    error: str = ""


@dataclass(frozen=True)
class Options:
    """How the jobs are run.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` and so on.
        data_root: The folder of licensed data.
        records_dir: The folder of records.
        force: Run even where records are there.
        at_once: Runs at a time on this machine; where it has several GPUs, each run gets one in turn.
        trained_by: What another run has kept, to be tested by all of them; as in :func:`fer_core.experiments.run`.
    """

    device: str = "auto"
    data_root: str | None = None
    records_dir: str | None = None
    force: bool = False
    at_once: int = 1
    trained_by: str | None = None

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise UserError(f"at_once: expected at least 1, got {self.at_once}; choose a positive number")


def run(jobs: Sequence[Job], options: Options, tell: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Runs jobs on this machine.

    Args:
        jobs: From :func:`fer_core.sweep_jobs.grid`.
        options: How.
        tell: Called with each outcome as it comes.

    Returns:
        Outcomes in the order of the jobs.

    Raises:
        Stopped: If SIGTERM, SIGUSR1 or SIGUSR2 came; the same sweep goes on.
    """
    found: dict[int, Outcome] = {}

    def came(place: int, outcome: Outcome) -> None:
        found[place] = outcome
        if tell is not None:
            tell(outcome)

    if options.at_once == 1:
        for place, job in enumerate(jobs):
            came(place, _one(job, options))
        return [found[place] for place in range(len(jobs))]
    # Fresh processes: forked ones may not use CUDA. One each, so that no run finds another's memory taken.
    context = multiprocessing.get_context("spawn")
    devices = _devices(options, context)
    with ProcessPoolExecutor(
        options.at_once, mp_context=context, initializer=_take, initargs=(devices,), max_tasks_per_child=1
    ) as pool:
        try:
            with stoppable("start the same sweep again and it goes on"):
                with deaf_children():
                    futures = {pool.submit(_apart, job, options): place for place, job in enumerate(jobs)}
                for future in as_completed(futures):
                    came(futures[future], _result(future, jobs[futures[future]]))
        except BaseException:  # runs write their checkpoints and end; those that wait never begin
            children = list(pool._processes.values())  # before the pool forgets them, and its thread
            manager: Any = pool._executor_manager_thread
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.terminate()
            if manager is not None:  # Python, at its exit, may wake it while it closes, and then prints a traceback
                manager.join()
            raise
    return [found[place] for place in range(len(jobs))]


def _result(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(job, error="a process of this sweep died, killed perhaps for want of memory; start it again")


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes begun within do not hear Ctrl-C, which reaches a whole group: this process ends them in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _devices(options: Options, context: Any) -> Any:
    """A queue with a device for each run at once: the GPUs as evenly as it goes, unless one is asked for by number."""
    import torch

    count = torch.cuda.device_count()
    several = count > 1 and options.device in ("auto", "cuda")
    devices = context.SimpleQueue()
    for place in range(options.at_once):
        devices.put(f"cuda:{place % count}" if several else options.device)
    return devices


_free: Any = None  # of a process of a sweep: the queue of devices that no other run has


def _take(devices: Any) -> None:
    """Begins a process of a sweep."""
    global _free
    _free = devices


def _apart(job: Job, options: Options) -> Outcome:
    """A job in a process of its own, on a device that is free."""
    import torch

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.at_once))
    device = _free.get()
    try:
        return _one(job, replace(options, device=device))
    finally:
        _free.put(device)


def _one(job: Job, options: Options) -> Outcome:
    logger.info("%s", job)
    try:
        record = experiments.run(
            job.experiment, job.profile, job.seed, device=options.device, data_root=options.data_root,
            overrides=job.overrides, records_dir=options.records_dir, force=options.force, progress=False,
            trained_by=options.trained_by,
        )  # fmt: skip
    except Stopped:
        raise
    except UserError as error:
        return Outcome(job, error=str(error))
    except Exception as error:  # a fault of one run must not cost the others
        traceback.print_exc()
        return Outcome(job, error=f"{type(error).__name__}: {error}".splitlines()[0])
    return Outcome(job, record)


class Task:
    """A job as submitit runs it on a node.

    One that submitit's own signal stops is queued again and goes on from its checkpoint. Any other signal ends it:
    ``scancel`` sends SIGTERM, and whoever cancels a job does not want it back.
    """

    def __init__(self, job: Job, options: Options) -> None:
        self.job, self.options = job, options

    def __call__(self) -> Outcome:
        """Runs the job."""
        logging.basicConfig(format="%(message)s", level=logging.INFO)
        try:
            return _one(self.job, self.options)
        except Stopped as stopped:
            from submitit import JobEnvironment

            own = f"SIG{JobEnvironment.USR_SIG}"
            if stopped.by == own:  # the engine listened and wrote its checkpoint; now submitit's own handler is due
                signal.raise_signal(getattr(signal, own))
            raise

    def checkpoint(self) -> Any:
        """What submitit queues in place of a task that lost its node."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Task(self.job, self.options))


def submit(
    jobs: Sequence[Job], options: Options, folder: Path, parameters: Mapping[str, Any], cluster: str = "slurm"
) -> list[Any]:
    """Hands jobs to a cluster, as one array.

    Args:
        jobs: From :func:`fer_core.sweep_jobs.grid`.
        options: How each is run.
        folder: For submitit's files and logs; all nodes must see it, and the cache folder.
        parameters: Of submitit's executor, such as ``timeout_min``, ``gpus_per_node`` or ``slurm_partition``.
        cluster: ``"slurm"``, or ``"local"`` to try it out on this machine.

    Returns:
        submitit's jobs; ``result()`` of each is an :class:`Outcome`.

    Raises:
        UserError: If submitit is not installed, there is no such cluster, or it refuses the parameters.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError('cluster: expected submitit, got none; pip install "fer-core[cluster]"') from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**parameters)
    except (RuntimeError, NameError, ValueError, TypeError) as error:
        raise UserError(f"cluster: expected {cluster} with these parameters, got: {error}; mend them") from error
    with executor.batch():
        submitted = [executor.submit(Task(job, options)) for job in jobs]
    return submitted


def gather(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """One row for each experiment and setting: means over its seeds and folds.

    Returns:
        ``experiment``, ``profile``, ``settings``, ``runs``, ``failed``; and in percent ``validation_war`` of the
        selected epochs (None without such a split), ``war`` and ``uar`` on the test split, and the sample deviation
        ``war_sd`` over seeds (None for one). A seed counts by the mean over its folds, if it has run as many as any.
        Choose settings by ``validation_war``: the test split is not for choosing.
    """
    rows: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        kept = {key: value for key, value in outcome.job.overrides.items() if key != "data.fold"}
        settings = " ".join(f"{key}={value}" for key, value in kept.items())
        rows.setdefault((outcome.job.experiment, outcome.job.profile, settings), []).append(outcome)
    gathered = []
    for (experiment, profile, settings), members in rows.items():
        done = [member.record for member in members if member.record is not None]
        seeds = tables.whole_seeds(done)
        war = _means(seeds, lambda record: 100 * record.metrics["war"])
        uar = _means(seeds, lambda record: 100 * record.metrics["uar"])
        validation = _means(seeds, _validation)
        gathered.append(
            {
                "experiment": experiment, "profile": profile, "settings": settings,
                "runs": len(done), "failed": sum(1 for member in members if member.error),
                "validation_war": fmean(validation) if validation else None,
                "war": fmean(war) if war else None, "war_sd": stdev(war) if len(war) > 1 else None,
                "uar": fmean(uar) if uar else None,
            }
        )  # fmt: skip
    return gathered


def _means(seeds: Iterable[Sequence[Record]], score: Callable[[Record], float | None]) -> list[float]:
    """A score of each seed, the mean over its folds; seeds without one are left out."""
    told = [[value for record in runs if (value := score(record)) is not None] for runs in seeds]
    return [fmean(values) for values in told if values]


def _validation(record: Record) -> float | None:
    """Validation WAR in percent: of the selected epoch, or after adaptation where a method adapts at test time."""
    if "validation" in record.metrics:
        return 100 * record.metrics["validation"]["war"]
    row = next((row for row in record.history if row["epoch"] == record.selection["epoch"]), None)
    return 100 * row["validation"]["war"] if row and row["validation"] else None
