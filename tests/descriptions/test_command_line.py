"""``fer-core describe`` against a real server, and the clips of data sets as questions."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core import cli, data, descriptions
from fer_core.cli_data import known_of
from fer_core.data import MemoryDataset, demo
from fer_core.descriptions import clips
from fer_core.errors import UserError

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _secret(cache, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "texts.jsonl"


@pytest.fixture
def describe(server, out, capsys):
    """Calls the command; gives the exit code and what was printed, in which the key never is."""

    def call(*arguments, url=server.url, model="tiny"):
        address = [] if url is None else ["--base-url", url]
        code = cli.main(["describe", *arguments, "--out", str(out), "--model", model, "--quiet", *address])
        printed = capsys.readouterr()
        assert KEY not in printed.out + printed.err
        assert not out.exists() or KEY not in out.read_text(encoding="utf-8")
        return code, printed.out, printed.err

    return call


@pytest.fixture
def ferv39k(tmp_path):
    """Two clips of three frames for testing and one for training, in the official layout."""
    root = tmp_path / "FERV39k"
    for number, word in enumerate(("Happy", "Sad", "Fear")):
        folder = root / "2_ClipsforFaceCrop" / "Action" / word / f"{number:04d}"
        folder.mkdir(parents=True)
        for frame in range(3):
            pixels = np.full((32, 32, 3), 80 * number + 20 * frame, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{frame:02d}.png")
    lists = root / "4_setups" / "All_scenes"
    lists.mkdir(parents=True)
    (lists / "test_All.csv").write_text("Action/Happy/0000 Happy\nAction/Sad/0001 Sad\n")
    (lists / "train_All.csv").write_text("Action/Fear/0002 Fear\n")
    return root


CLIPS = (
    "clips",
    "ferv39k",
    "--split",
    "train,test",
    "--option",
    "size=28",
    "--option",
    "validation=0",
    "--frames",
    "2",
)
KEYS = [f"2_ClipsforFaceCrop/Action/{name}" for name in ("Fear/0002", "Happy/0000", "Sad/0001")]


def test_classes_are_described(describe, server, out):
    code, printed, _ = describe("classes", "facs-pain", "--key-variable", "TEST_KEY")
    assert code == 0
    assert printed == (f"{out}: 2 descriptions made, 0 from the cache, 0 there before; 2 requests, about 36 tokens\n")
    found = descriptions.load(out)
    assert set(found) == {"neutral", "pain"}
    assert found["pain"].text == "The brows are raised."
    assert any("expression of pain from one of neutral?" in question for question in server.questions())
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    code, printed, _ = describe("classes", "facs-pain", "--json")
    assert code == 0
    assert json.loads(printed) == {
        "questions": 2, "kept": 2, "cached": 0, "made": 0, "requests": 0, "tokens": 0, "failed": {}, "stopped": None,
    }  # fmt: skip


def test_clips_are_described_under_their_paths(describe, server, out, ferv39k):
    server.text = lambda body: "A happy smile widens."
    code, _, _ = describe(*CLIPS, "--data-root", str(ferv39k), "--mask-classes", "--parameter", "max_tokens=64")
    assert code == 0
    found = descriptions.load(out)
    assert sorted(found) == sorted(KEYS)
    assert descriptions.captions_for(KEYS, out) == ["An emotion smile widens."] * 3
    assert found[KEYS[0]].parameters == {
        "sent": {"temperature": 0, "max_tokens": 64}, "mask": "emotion", "jpeg_quality": 90,
    }  # fmt: skip
    parts = server.asked[0]["messages"][0]["content"]
    assert "These 2 frames" in parts[0]["text"]
    assert len(parts) == 3


def test_a_dry_run_asks_nobody_and_writes_nothing(describe, server, out, ferv39k):
    code, printed, _ = describe(*CLIPS, "--data-root", str(ferv39k), "--dry-run", url=None)
    assert code == 0
    assert f"{KEYS[0]} with 2 images (28x28):\n  These 2 frames" in printed
    assert "would send tiny 3 requests" in printed
    assert "and up to 480 of answers" in printed
    assert server.asked == []
    assert not out.exists()
    code, printed, _ = describe("classes", "facs-clip-7", "--dry-run", "--json")
    assert json.loads(printed)["requests"] == 7
    code, printed, _ = describe("classes", "facs-clip-7", "--dry-run", "--parameter", "max_tokens=null")
    assert "... and 4 more" in printed
    assert "any number of answers" in printed


@pytest.mark.parametrize("mapping", ["max_tokens=null", "max_completion_tokens=99"])
def test_parameters_are_added_and_taken_away(describe, server, mapping):
    arguments = ("--parameter", mapping, "--parameter", "temperature=0.5")
    assert describe("classes", "facs-pain", *arguments)[0] == 0
    body = server.asked[0]
    assert body["temperature"] == 0.5
    assert ("max_tokens" in body) == (mapping != "max_tokens=null")
    assert body.get("max_completion_tokens") == (99 if "completion" in mapping else None)


def test_a_wrong_key_is_one_line_and_exit_code_2(describe, server):
    server.script = [(401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}})] * 4
    code, printed, told = describe("classes", "facs-pain", "--key-variable", "TEST_KEY", "--concurrency", "1")
    assert (code, printed) == (2, "")
    assert told.count("\n") == 1
    assert told.startswith(
        "fer-core: error: 127.0.0.1: expected a key that is allowed to ask, got the one in $TEST_KEY"
    )


def test_an_incomplete_file_is_exit_code_2_and_the_same_command_goes_on(describe, server, out):
    server.script = [(400, {}, {"error": {"message": "too rude"}})]
    code, printed, told = describe("classes", "facs-pain", "--concurrency", "1")
    assert code == 2
    assert "1 descriptions made" in printed
    assert told.count("\n") == 1
    assert "got none of 1 (1 failed, the first, 'neutral': the server refused the question (400): too rude)" in told
    code, _, told = describe("classes", "facs-pain", "--max-requests", "1")
    assert (code, told) == (0, "")
    assert set(descriptions.load(out)) == {"neutral", "pain"}


def test_a_spent_budget_is_told(describe):
    code, _, told = describe("classes", "facs-pain", "--max-requests", "1")
    assert code == 2
    assert "got none of 1 (1 requests were sent, which is the limit); the same command goes on" in told


def test_an_interrupt_is_exit_code_130_and_says_what_stays(describe, monkeypatch, out):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_core.descriptions.jobs.run", interrupted)
    code, printed, told = describe("classes", "facs-pain")
    assert (code, printed) == (130, "")
    assert told == f"fer-core: interrupted; {out} has what was answered, the same command goes on\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("classes", "facs-pian"), "unknown data set 'facs-pian'; did you mean 'facs-pain'?"),
        (
            ("classes", "facs-pain", "--key-variable", "NO_SUCH_KEY"),
            "expected it in the environment variable NO_SUCH_KEY",
        ),
        (("classes", "facs-pain", "--mask-word", "x"), "expected --mask-classes beside it"),
        (("classes", "facs-pain", "--mask-classes", "--mask-word", "pain"), "expected a word that names no class"),
        (("classes", "facs-pain", "--parameter", "temperature"), "--parameter: expected KEY=VALUE"),
        (("classes", "facs-pain", "--concurrency", "0"), "concurrency: expected a number of at least 1"),
        (("clips", "facs-clip-7", "--limit", "0"), "--limit: expected a number of at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line(describe, server, arguments, told):
    code, printed, line = describe(*arguments)
    assert (code, printed) == (2, "")
    assert line.startswith("fer-core: error: ")
    assert told in line
    assert line.count("\n") == 1
    assert server.asked == []


def test_no_address_is_a_mistake_unless_nothing_is_sent(describe):
    code, _, told = describe("classes", "facs-pain", url=None)
    assert code == 2
    assert "pass it, or --dry-run to ask nobody" in told


def test_licensed_images_leave_this_machine_only_when_that_is_allowed(describe, ferv39k, out, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr("fer_core.descriptions.jobs.run", lambda *arguments, **_: asked.append(arguments))
    monkeypatch.setattr("fer_core.cli_describe._report", lambda *_: None)
    arguments = (*CLIPS, "--data-root", str(ferv39k), "--key-variable", "TEST_KEY")
    code, _, told = describe(*arguments, url="http://models.invalid/v1")
    assert code == 2
    assert "expected its licensed images to stay on this machine, got an endpoint at models.invalid" in told
    assert asked == []
    code, _, _ = describe(*arguments, "--upload-allowed", url="http://models.invalid/v1")
    assert code == 0
    assert len(asked) == 1
    assert "the key goes to models.invalid unencrypted; use https://" in caplog.text


# Clips as questions.


def memory(image):
    columns = {"image": image, "label": torch.zeros(len(image), dtype=torch.int64)}
    return MemoryDataset("made", "test", ("fear",), columns, "0" * 16, "made here")


def test_frames_are_spread_over_the_clip_and_keys_name_the_sample():
    image = torch.arange(2 * 9, dtype=torch.uint8).reshape(2, 9, 1, 1, 1).expand(2, 9, 3, 4, 6).contiguous()
    asked = clips.clip_questions(memory(image), 3)
    assert [question.key for question in asked] == clips.clip_keys(memory(image)) == ["made/test/0", "made/test/1"]
    assert asked[1].images is not None
    shown = asked[1].images()
    assert [frame.shape for frame in shown] == [(4, 6, 3)] * 3
    assert [int(frame[0, 0, 0]) for frame in shown] == [9 + 1, 9 + 4, 9 + 7]
    assert "These 3 frames" in asked[0].text


def test_stills_and_no_frames_are_refused():
    with pytest.raises(UserError, match="expected a data set of clips, got single images"):
        clips.clip_questions(memory(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)), 2)
    with pytest.raises(UserError, match="frames: expected a number of at least 1, got 0"):
        clips.clip_questions(memory(torch.zeros(1, 5, 3, 4, 4, dtype=torch.uint8)), 0)


def test_keys_of_a_release_are_its_paths(ferv39k):
    opened = data.open("ferv39k", "test", ferv39k, size=28)
    assert clips.clip_keys(opened) == KEYS[1:]


FOUR = "[frames, parsing, landmarks, descriptions]"


@pytest.mark.parametrize(
    ("backbone", "smaller", "trained"),
    [
        (None, ("data.size=64", "data.frames=4"), None),
        # Two sets of adapters with places for 16 frames, a bottleneck for descriptions, four weights and a scale.
        pytest.param(
            "ViT-B-16-quickgelu:random", (), 2 * (10_651_392 + 16 * 768) + 131_712 + 5, marks=pytest.mark.slow
        ),
    ],
)
def test_fine_cliper_trains_on_what_a_model_told(
    describe, out, server, narrow_vit, tmp_path, capsys, backbone, smaller, trained
):
    root = tmp_path / "dfew"
    demo.write("dfew", root, seed=0)
    server.text = lambda body: "The brows are drawn together. The face looks angry."
    code, _, error = describe("clips", "dfew", "--data-root", str(root), "--option", "fold=1", "--mask-classes")
    assert code == 0, error
    assert "angry" not in out.read_text(encoding="utf-8")
    settings = [f"backbone={backbone or narrow_vit}", f"data.descriptions={out}", f"model.streams={FOUR}", *smaller]
    settings += ["data.fold=1", "data.limit={train: 4, test: 4}", "training.epochs=1", "training.batch_size=2"]
    settings += ["model.recompute=true", *known_of("fine-cliper-dfew", root)]
    line = ["run", "fine-cliper-dfew", "--profile", "paper", "--json", "--quiet", "--device", "cpu"]
    line += ["--data-root", str(root), "--records", str(tmp_path / "records")]
    code = cli.main([*line, *(part for key in settings for part in ("--set", key))])
    told = capsys.readouterr()
    assert code == 0, told.err
    (record,) = json.loads(told.out)
    assert (record["fold"], record["metrics"]["n"]) == (1, 4)
    assert record["config"]["model"]["streams"] == ["frames", "parsing", "landmarks", "descriptions"]
    assert trained is None or record["trainable_parameters"] == trained
