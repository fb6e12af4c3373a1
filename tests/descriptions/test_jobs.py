"""Many questions: concurrency, cache, resume, limits and failures."""

import json
import signal
import subprocess
import sys
import threading
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer_core
from fer_core import descriptions
from fer_core.descriptions import jobs
from fer_core.descriptions.questions import JPEG_QUALITY, Question, Settings, class_questions, preview
from fer_core.errors import UserError

pytestmark = pytest.mark.usefixtures("cache")


def questions(count=5):
    return [Question(f"k{place}", f"What about {place}?") for place in range(count)]


def frames(value, count=2):
    """Frames whose pixels depend on a number."""
    ramp = np.arange(count * 28 * 56 * 3, dtype=np.int64).reshape(count, 28, 56, 3) // 97
    return list(((ramp + 40 * value) % 256).astype(np.uint8))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "texts.jsonl"


@pytest.fixture
def run(out, endpoint):
    def call(asked=None, settings=None, path=out, **changes):
        return jobs.run(questions() if asked is None else asked, path, endpoint(**changes), settings or Settings())

    return call


@pytest.fixture(autouse=True)
def echo(server):
    """Each answer repeats its question."""

    def text(body):
        content = body["messages"][0]["content"]
        return f"  Answer to\n{content if isinstance(content, str) else content[0]['text']} "

    server.text = text


def test_every_question_gets_one_line(server, run, out):
    report = run()
    assert (report.questions, report.made, report.kept, report.cached) == (5, 5, 0, 0)
    assert (report.requests, report.tokens, report.failed, report.stopped) == (5, 90, {}, None)
    found = descriptions.load(out)
    assert {key: each.text for key, each in found.items()} == {
        f"k{place}": f"Answer to What about {place}?" for place in range(5)
    }
    assert found["k0"].model == "tiny"
    assert found["k0"].parameters == {"sent": {"temperature": 0, "max_tokens": 160}, "mask": None}
    assert found["k0"].images is None
    assert len({each.prompt_digest for each in found.values()}) == 5
    assert all(body["max_tokens"] == 160 and body["temperature"] == 0 for body in server.asked)


def test_a_finished_file_asks_nothing_and_stays_as_it_is(server, run, out, cache):
    run()
    before = out.read_bytes()
    for path in cache.rglob("*.json"):
        path.unlink()
    report = run()
    assert (report.kept, report.made, report.requests) == (5, 0, 0)
    assert out.read_bytes() == before
    assert len(server.asked) == 5


def test_new_questions_are_added(server, run, out):
    run(questions(2))
    report = run(questions(4))
    assert (report.kept, report.made) == (2, 2)
    assert sorted(descriptions.load(out)) == ["k0", "k1", "k2", "k3"]
    assert len(server.asked) == 4


def test_another_file_is_filled_from_the_cache(server, run, out, tmp_path):
    run()
    report = run(path=tmp_path / "again.jsonl")
    assert (report.cached, report.made, report.requests) == (5, 0, 0)
    first, again = descriptions.load(out), descriptions.load(tmp_path / "again.jsonl")
    assert {key: each.text for key, each in first.items()} == {key: each.text for key, each in again.items()}


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"text": 3}', b'{"text": "x", "more": 1}'])
def test_a_damaged_answer_in_the_cache_is_asked_for_again(run, cache, tmp_path, damage):
    run(questions(1))
    (kept,) = cache.rglob("*.json")
    kept.write_bytes(damage)
    assert run(questions(1), path=tmp_path / "again.jsonl").made == 1


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_the_cache(run, out, cache, caplog):
    cache.write_text("a file where the folder should be")
    assert run(questions(2)).made == 2
    assert len(descriptions.load(out)) == 2
    assert "set FER_CACHE to a folder that can be written to" in caplog.text


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"model": "other"}, Settings()),
        ({}, Settings(parameters={"temperature": 1})),
        ({}, Settings(mask="emotion")),
    ],
)
def test_a_file_made_with_other_settings_is_refused(server, run, changes, settings):
    run()
    with pytest.raises(
        UserError, match=r"got one of 'k0' made with other settings \(by 'tiny'\); choose another --out"
    ):
        run(settings=settings, **changes)
    assert len(server.asked) == 5


def test_another_model_parameter_or_question_is_not_answered_from_the_cache(run, tmp_path):
    run(questions(1))
    assert run(questions(1), path=tmp_path / "1", model="other").made == 1
    assert run(questions(1), Settings(parameters={"temperature": 1}), path=tmp_path / "2").made == 1
    assert run([Question("k0", "Another question?")], path=tmp_path / "3").made == 1


def test_masking_changes_the_text_and_asks_nothing_again(server, run, out, tmp_path):
    asked = [Question("a", "An angry or a happy look?")]
    run(asked)
    report = run(asked, Settings(mask="emotion"), path=tmp_path / "masked.jsonl")
    assert report.requests == 0
    masked = descriptions.load(tmp_path / "masked.jsonl")["a"]
    assert masked.text == "Answer to An emotion or an emotion look?"
    assert masked.parameters["mask"] == "emotion"
    assert masked.prompt_digest == descriptions.load(out)["a"].prompt_digest


def test_as_many_questions_are_under_way_as_allowed_and_no_more(server, run):
    meeting = threading.Barrier(3, timeout=60)

    def meet(handler):
        meeting.wait()
        handler.reply(200, {}, {"choices": [{"message": {"content": "Fine."}}]})

    server.script = [meet] * 9
    assert run(questions(9), Settings(concurrency=3)).made == 9
    assert server.most_under_way == 3


# Images.


def test_images_are_sent_as_jpegs_in_order(server, run, out):
    run([Question("clip", "What moves?", lambda: frames(1))])
    parts = server.asked[0]["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "What moves?"}
    assert [part["type"] for part in parts[1:]] == ["image_url", "image_url"]
    for part, frame in zip(parts[1:], frames(1), strict=True):
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        image = Image.open(BytesIO(b64decode(data, validate=True)))
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - frame).mean() < 10
    row = descriptions.load(out)["clip"]
    assert len(row.images or "") == 16
    assert row.parameters["jpeg_quality"] == JPEG_QUALITY


def test_equal_pixels_are_asked_about_once_and_other_pixels_anew(server, run, out):
    server.seconds = 0.1  # so that equal clips meet while the first is under way
    asked = [Question(f"c{place}", "What moves?", lambda place=place: frames(place % 2)) for place in range(6)]
    report = run(asked)
    assert (report.made, report.cached, len(server.asked)) == (2, 4, 2)
    found = descriptions.load(out)
    assert found["c0"].images == found["c2"].images != found["c1"].images
    assert found["c0"].prompt_digest == found["c1"].prompt_digest


def test_images_of_answered_clips_are_not_decoded_again(run):
    asked = [Question("c", "What moves?", lambda: frames(0))]
    run(asked)

    def never():
        raise AssertionError

    assert run([Question("c", "What moves?", never)]).kept == 1


# Failures.


def test_one_failure_does_not_stop_the_others_and_is_mended_by_the_next_run(server, run, out):
    server.script = [(400, {}, {"error": {"message": "too rude"}})]
    report = run(settings=Settings(concurrency=1))
    assert (report.made, report.stopped) == (4, None)
    assert report.failed == {"k0": "the server refused the question (400): too rude"}
    assert run().made == 1
    assert len(descriptions.load(out)) == 5


def test_a_damaged_clip_fails_alone(run, out):
    def damaged():
        raise UserError("clip.mp4: expected a whole video, got a damaged one; copy the file again")

    report = run([Question("bad", "?", damaged), *questions(2)])
    assert (report.made, report.stopped) == (2, None)
    assert report.failed == {"bad": "clip.mp4: expected a whole video, got a damaged one; copy the file again"}
    assert set(descriptions.load(out)) == {"k0", "k1"}


def test_any_text_can_be_kept(server, run, out, tmp_path):
    server.text = lambda body: "Half a pair \ud83d, “quotes”\u2028and lines\x00"
    run(questions(1))
    assert descriptions.load(out)["k0"].text == "Half a pair ?, “quotes” and lines\x00"
    assert run(questions(1), path=tmp_path / "again.jsonl").cached == 1


def test_failures_in_a_row_stop_the_run(server, run, out):
    server.script = [(400, {}, {}), (200, {}, {"choices": [{"message": {"content": "Fine."}}]})]
    server.script += [(400, {}, {})] * 20
    report = run(questions(20), Settings(concurrency=1, max_failures=3))
    assert report.stopped == "3 questions in a row failed"
    assert (report.made, len(report.failed), len(server.asked)) == (1, 4, 5)


def test_a_wrong_key_stops_everything_at_once_but_keeps_what_came(server, run, out):
    server.script = [(200, {}, {"choices": [{"message": {"content": "Fine."}}]}), (401, {}, {})]
    with pytest.raises(UserError, match=r"got none \(401\)"):
        run(settings=Settings(concurrency=1))
    assert list(descriptions.load(out)) == ["k0"]
    assert len(server.asked) == 2


def test_the_limit_of_requests_ends_the_run_and_the_next_goes_on(server, run, out):
    report = run(settings=Settings(max_requests=2))
    assert (report.made, report.requests) == (2, 2)
    assert report.stopped == "2 requests were sent, which is the limit"
    assert run().made == 3
    assert len(server.asked) == 5
    assert len(descriptions.load(out)) == 5


def test_the_limit_of_tokens_counts_the_longest_answer_ahead(server, run):
    # Four tokens of question and at most 160 of answer are reserved; the server then counts 18.
    report = run(settings=Settings(concurrency=1, max_total_tokens=190))
    assert (report.made, report.tokens) == (2, 36)
    assert report.stopped == "about 36 tokens were spent, and the limit is 190"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"max_failures": 0}, "max_failures"),
        ({"parameters": {"model": "x"}}, "got 'model'"),
        ({"parameters": {"stream": True}}, "got 'stream'"),
        ({"parameters": {"temperature": float("nan")}}, "parameters: .*finite numbers"),
        ({"parameters": {"seed": {1, 2}}}, "parameters: expected settings of JSON types"),
        ({"mask": "happy"}, "names no class"),
    ],
)
def test_wrong_settings_are_refused(changes, told):
    with pytest.raises(UserError, match=told):
        Settings(**changes)


def test_a_key_that_comes_twice_is_refused(run):
    with pytest.raises(UserError, match="got 'k1' twice"):
        run([*questions(3), questions(2)[1]])


# Interrupts.


def test_an_interrupt_keeps_the_answers_under_way(server, run, out, caplog):
    server.seconds = 0.3

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([*questions(2), Question("late", "?", interrupted), Question("later", "?")])
    assert sorted(descriptions.load(out)) == ["k0", "k1"]
    assert "waiting for 2 answers that are under way" in caplog.text
    assert len(server.asked) == 2


def test_a_killed_process_resumes_without_asking_twice(server, run, out, cache):
    script = (
        "import sys; from fer_core.descriptions import jobs; from fer_core.descriptions.endpoint import Endpoint\n"
        "from fer_core.descriptions.questions import Question, Settings\n"
        "asked = [Question(f'k{place}', f'What about {place}?') for place in range(5)]\n"
        "jobs.run(asked, sys.argv[1], Endpoint(sys.argv[2], 'tiny'), Settings(concurrency=1))\n"
    )
    process = []

    def kill(handler):
        process[0].send_signal(signal.SIGKILL)
        process[0].wait()

    started = threading.Event()

    def first(handler):
        started.wait(60)
        handler.reply(200, {}, {"choices": [{"message": {"content": "Answer to What about 0?"}}]})

    server.script = [first, (200, {}, {"choices": [{"message": {"content": "Answer to What about 1?"}}]}), kill]
    root = str(Path(fer_core.__file__).parents[1])
    environment = {"PYTHONPATH": root, "FER_CACHE": str(cache), "PATH": "", "HOME": str(cache)}
    process.append(subprocess.Popen([sys.executable, "-c", script, str(out), server.url], env=environment))
    started.set()
    assert process[0].wait(120) == -signal.SIGKILL
    assert list(descriptions.load(out)) == ["k0", "k1"]
    # As if the power had failed in the middle of a line: the answer is in the cache.
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(lines[0] + lines[1][:30])
    report = run()
    assert (report.kept, report.cached, report.made) == (1, 1, 3)
    assert sorted(server.questions()) == sorted([f"What about {place}?" for place in (0, 1, 2, 2, 3, 4)])
    assert len(descriptions.load(out)) == 5


# Looking before asking.


def test_a_preview_tells_what_would_be_asked_and_leaves_no_trace(server, run, out, tmp_path):
    run(questions(1))
    before = out.read_bytes()
    found = preview(questions(), out, "tiny", Settings())
    assert found == {
        "questions": 5, "kept": 1, "requests": 4, "prompt_tokens": 4 * 4, "answer_tokens": 4 * 160,
        "first": [{"key": f"k{place}", "text": f"What about {place}?", "images": []} for place in (1, 2, 3)],
    }  # fmt: skip
    assert out.read_bytes() == before
    preview(questions(), tmp_path / "none.jsonl", "tiny", Settings())
    assert not (tmp_path / "none.jsonl").exists()
    assert len(server.asked) == 1


def test_a_preview_decodes_only_the_clips_that_it_shows(out):
    decoded = []

    def images(place):
        decoded.append(place)
        return frames(place)

    asked = [Question(f"c{place}", "x" * 40, lambda place=place: images(place)) for place in range(10)]
    found = preview(asked, out, "tiny", Settings(parameters={}))
    assert decoded == [0, 1, 2]
    assert found["first"][0]["images"] == ["56x28", "56x28"]
    assert found["prompt_tokens"] == 10 * (10 + 2 * (2 * 1 + 2))
    assert found["answer_tokens"] == 0


def test_a_preview_of_nothing_left_is_empty(run, out):
    run()
    found = preview(questions(), out, "tiny", Settings())
    assert (found["requests"], found["prompt_tokens"], found["first"]) == (0, 0, [])


def test_class_questions_name_the_class_and_the_others():
    asked = class_questions(("fear", "anger", "neutral"))
    assert [each.key for each in asked] == ["fear", "anger", "neutral"]
    assert "facial expression of fear from one of anger, neutral?" in asked[0].text
    assert "facial expression of neutral from one of fear, anger?" in asked[2].text
    assert not any("{" in each.text or each.images for each in asked)
    json.dumps([each.text for each in asked])
