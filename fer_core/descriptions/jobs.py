"""Many questions to one endpoint, written to one file: asked a few at a time, resumed where they were left.

An answer is kept twice. The file of descriptions has a line for it, so a run that was killed goes on where it stopped;
and the cache folder has it under a digest of question, model, parameters and pixels, so another file, or the same clip
under another name, asks nothing again.
"""

import concurrent.futures
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from fer_core import atomic, config
from fer_core.descriptions.client import Client, QuestionError
from fer_core.descriptions.endpoint import Answer, Budget, Endpoint, StoppedError
from fer_core.descriptions.questions import Prepared, Question, Settings, unanswered
from fer_core.descriptions.rows import AnyPath, Journal
from fer_core.errors import UserError
from fer_core.folders import cache_folder

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What a run did.

    Args:
        questions: How many there were.
        kept: Descriptions that the file had.
        cached: Answers that the cache folder had.
        made: Answers that were asked for.
        requests: Requests sent, repeated attempts included.
        tokens: Tokens spent.
        failed: What went wrong, by key.
        stopped: Why the run stopped early; None where it came to its end.
    """

    questions: int
    kept: int = 0
    cached: int = 0
    made: int = 0
    requests: int = 0
    tokens: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None


def run(
    questions: Sequence[Question], out: AnyPath, endpoint: Endpoint, settings: Settings, progress: bool = False
) -> Report:
    """Asks every question that the file has no answer to, and appends the answers to it as they come.

    On an interrupt, nothing new is asked, and the answers under way are waited for and kept: they are paid for.

    Args:
        questions: What to ask, each key once.
        out: The file of descriptions; made where there is none.
        endpoint: Whom to ask.
        settings: How.
        progress: Whether to show a bar on standard error.

    Returns:
        What was done; ``failed`` and ``stopped`` say what was not.

    Raises:
        UserError: If the file was made with other settings, is written by another process or is damaged, or the
            endpoint refuses everything (wrong key, model or address).
    """
    with Journal(out) as journal, Client(endpoint, Budget(settings.max_requests, settings.max_total_tokens)) as client:
        missing = unanswered(questions, journal.rows, journal.path, endpoint.model, settings)
        report = Report(len(questions), kept=len(questions) - len(missing))
        with tqdm(total=len(questions), initial=report.kept, unit="text", disable=not progress) as bar:
            work = _Run(journal, client, report, settings, bar)
            try:
                work.ask(missing)
            finally:
                report.requests, report.tokens = client.budget.sent, client.budget.spent
    return report


class _Run:
    """The questions of one run that are under way."""

    def __init__(self, journal: Journal, client: Client, report: Report, settings: Settings, bar: tqdm) -> None:
        self.journal, self.client, self.report, self.settings, self.bar = journal, client, report, settings, bar
        # Questions by the future that answers them: several where clips have the same pixels.
        self.pending: dict[concurrent.futures.Future[Answer], list[Prepared]] = {}
        self.failures_in_a_row = 0

    def ask(self, missing: Sequence[Prepared]) -> None:
        pool = concurrent.futures.ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="describe")
        try:
            # Frames are decoded here, one question ahead of the threads, as decoders need not be thread-safe.
            for prepared in missing:
                self._submit(pool, prepared)
                while len(self.pending) >= self.settings.concurrency and self.report.stopped is None:
                    self._collect()
                if self.report.stopped is not None:
                    break
            while self.pending:
                self._collect()
        except BaseException as error:
            self.client.stopping.set()
            if isinstance(error, KeyboardInterrupt):
                logger.warning("waiting for %d answers that are under way; interrupt again to leave", len(self.pending))
            self._keep_what_comes()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, pool: concurrent.futures.Executor, prepared: Prepared) -> None:
        try:
            answer = _cached(prepared.address)
        except UserError as error:  # a damaged clip
            self.report.failed[prepared.question.key] = str(error)
            return
        if answer is not None:
            prepared.forget_frames()
            self._write(prepared, answer)
            self.report.cached += 1
            return
        for waiting in self.pending.values():
            if waiting[0].address == prepared.address:
                waiting.append(prepared)
                prepared.forget_frames()
                return
        future = pool.submit(self.client.ask, prepared.content(), self.settings.parameters, sum(prepared.tokens()))
        prepared.forget_frames()
        self.pending[future] = [prepared]

    def _collect(self) -> None:
        """Waits for the next answer, or several, and writes them down."""
        done, _ = concurrent.futures.wait(self.pending, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            self._take(future)

    def _take(self, future: concurrent.futures.Future[Answer]) -> None:
        answered = self.pending.pop(future)
        try:
            answer = future.result()
        except QuestionError as error:
            self.report.failed |= {prepared.question.key: str(error) for prepared in answered}
            self.failures_in_a_row += 1
            if self.failures_in_a_row >= self.settings.max_failures:
                self._stop(f"{self.failures_in_a_row} questions in a row failed")
            return
        except StoppedError as error:
            self._stop(str(error))
            return
        self.failures_in_a_row = 0
        _store(answered[0].address, answer)
        self.report.made += 1
        self.report.cached += len(answered) - 1
        for prepared in answered:
            self._write(prepared, answer)

    def _stop(self, reason: str) -> None:
        self.report.stopped = self.report.stopped or reason
        self.client.stopping.set()

    def _keep_what_comes(self) -> None:
        """Writes down the answers under way, and lets go of what fails."""
        for future in concurrent.futures.as_completed(list(self.pending)):
            try:
                self._take(future)
            except UserError:
                continue

    def _write(self, prepared: Prepared, answer: Answer) -> None:
        self.journal.append(prepared.row(answer))
        self.bar.update()


def _answers() -> Path:
    return cache_folder() / "descriptions"


def _cached(address: str) -> Answer | None:
    """An answer of the cache folder; a damaged one is as good as none."""
    try:
        return config.build(Answer, json.loads((_answers() / f"{address}.json").read_bytes()), "answer")
    except (OSError, ValueError):
        return None


def _store(address: str, answer: Answer) -> None:
    text = json.dumps(config.plain(answer), ensure_ascii=False)
    atomic.keep(_answers() / f"{address}.json", lambda path: path.write_text(text, encoding="utf-8"))
