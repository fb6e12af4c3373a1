"""Experiment files: what they may hold, how profiles and overrides are laid over them, what is refused."""

import itertools
from importlib.resources import files

import pytest

from fer_core import adapt, config, engine, experiments, models
from fer_core.errors import UserError
from fer_core.experiments import loading

TEXT = """
# What it is.
name: coop-ferplus
title: CoOp
method: coop
dataset: ferplus
data: {votes: majority, limit: {train: 10, test: 5}}
training: {lr: 1e-3, epochs: 5}
profiles:
  smoke: {training: {epochs: 1}, data: {limit: {train: 2}}}
  paper: {backbone: "ViT-B-16-quickgelu:openai"}
"""


def source(name):
    return files("fer_core.experiments").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def test_there_is_an_experiment_for_each_baseline_and_data_set():
    baselines = ("zero-shot", "linear-probe", "coop", "full-fine-tuning")
    assert {f"{method}-{data}" for method in baselines for data in ("facs-still-8", "ferplus")} <= set(
        experiments.names()
    )


@pytest.mark.parametrize("name", experiments.names())
@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_every_profile_is_accepted_by_its_method_and_the_engine(name, profile):
    experiment = experiments.load(name)
    if profile not in experiment.profiles:
        # No paper publishes a number on rendered faces, and nobody commits records of data that few may have.
        left_out = ("paper",) if experiment.dataset.startswith("facs-") else ("quick", "full")
        assert profile in left_out
        return
    settings = experiment.settings(profile)
    config.build(engine.Training, settings.training, "training")
    config.build(models.get(settings.source or settings.method).Config, settings.model, "model")
    if settings.source:
        config.build(adapt.get(settings.method).Config, settings.adapt, "adapt")
    assert (settings.backbone == "embedded") == (profile != "paper")


@pytest.mark.parametrize("method", ["les-clip", "mpa-fer", "fine-cliper", "clip-au"])
def test_a_papers_optimiser_is_the_same_on_all_its_data(method):
    """A rate chosen for the embedded CLIP stays out of the paper's own settings."""
    own = [experiment for experiment in map(experiments.load, experiments.names()) if experiment.method == method]
    training = [each.settings("paper").training for each in own if "paper" in each.profiles]
    assert len(training) > 1
    told = [tuple(each.get(key) for key in ("optimizer", "lr", "momentum", "weight_decay")) for each in training]
    assert set(told) == {told[0]}


@pytest.mark.parametrize("name", experiments.names())
def test_every_file_says_what_it_is_and_how_to_run_it(name):
    text = source(name)
    head = list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    assert text.startswith(f"{head[0]}\n")
    topics = [line.split()[1] for line in head[2:] if len(line) > 2 and line[2] != " "]
    assert topics == ["What", "Paper", "First", "Command", "Expected", "Hardware", "Time"]
    profiles = experiments.load(name).profiles
    command = f"fer-core run {name} --profile {'full --seed 0,1,2' if 'full' in profiles else 'paper --seed 0'}"
    assert any(command in line for line in head)


ABLATIONS = [(name, ablation) for name in experiments.names() for ablation in experiments.load(name).ablations]


@pytest.mark.parametrize(("name", "ablation"), ABLATIONS)
def test_every_row_of_an_ablation_is_a_run_of_its_own(name, ablation):
    experiment = experiments.load(name)
    table = experiment.ablations[ablation]
    own = [title for title, row in table.rows.items() if not isinstance(row, str)]
    digests = set()
    for title in own:
        resolved = experiments.resolve(experiment.settings(table.profile, table.settings(title)))
        digests.add(config.digest(resolved))
    assert len(digests) == len(own)
    assert any(not experiment.ablations[ablation].rows[title] for title in own), "no row is the experiment itself"
    for row in table.rows.values():
        if isinstance(row, str):
            assert experiments.load(row).dataset == experiment.dataset


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("{none: 3}", r"expected settings, or an experiment on ferplus, as 'none', got 3"),
        ("{none: coop-raf-db}", r"expected settings, or an experiment on ferplus, as 'none', got 'coop-raf-db'"),
    ],
)
def test_a_row_that_is_no_run_is_refused(rows, message):
    text = TEXT + f"ablations: {{parts: {{caption: All., profile: smoke, rows: {rows}}}}}\n"
    with pytest.raises(UserError, match=message):
        loading.parse(text, "coop-ferplus.yaml")


def test_an_ablation_has_a_profile_of_its_experiment():
    text = TEXT + "ablations: {parts: {caption: All., rows: {all: {}}}}\n"
    with pytest.raises(UserError, match="profile of the ablation parts of coop-ferplus 'full'"):
        loading.parse(text, "coop-ferplus.yaml")


def test_rows_of_an_ablation_have_its_common_settings():
    text = (
        TEXT
        + """
ablations:
  parts:
    caption: All.
    profile: smoke
    common: {training.lr: 0.5, data.limit.train: 7}
    rows: {all: {}, zero-shot: zero-shot-ferplus, slow: {training.lr: 0.1}}
"""
    )
    table = loading.parse(text, "coop-ferplus.yaml").ablations["parts"]
    assert table.settings("all") == {"training.lr": 0.5, "data.limit.train": 7}
    assert table.settings("slow") == {"training.lr": 0.1, "data.limit.train": 7}
    assert table.settings("zero-shot") == {}


@pytest.mark.parametrize("name", [name for name in experiments.names() if experiments.load(name).source])
def test_a_test_time_method_has_its_sources_settings(name):
    experiment = experiments.load(name)
    assert experiment.source is not None
    source = experiments.load(experiment.source)
    assert set(experiment.profiles) <= set(source.profiles)
    for profile in experiment.profiles:
        own, theirs = (experiments.resolve(each.settings(profile)) for each in (experiment, source))
        assert own.pop("source") == theirs["method"]
        assert own.pop("method") == experiment.method
        own.pop("adapt")
        assert own == {key: value for key, value in theirs.items() if key != "method"}


def test_settings_of_both_halves_can_be_overridden():
    overrides = {"adapt.steps": 3, "training.epochs": 1, "model.units": 47}
    settings = experiments.load("clip-autt-facs-pain").settings("full", overrides)
    resolved = experiments.resolve(settings)
    assert (resolved["adapt"]["steps"], resolved["training"]["epochs"], resolved["model"]["units"]) == (3, 1, 47)
    assert (resolved["method"], resolved["source"]) == ("clip-autt", "clip-au")
    with pytest.raises(UserError, match="coop-ferplus: expected no settings of adapt"):
        experiments.load("coop-ferplus").settings("full", {"adapt.steps": 3})
    with pytest.raises(UserError, match="adapt of clip-autt 'step'; did you mean 'steps'"):
        experiments.resolve(experiments.load("clip-autt-facs-pain").settings("full", {"adapt.step": 3}))


def test_a_profile_is_merged_key_by_key():
    experiment = loading.parse(TEXT, "test")
    settings = experiment.settings("smoke")
    assert settings.training == {"lr": 0.001, "epochs": 1}
    assert settings.data == {"votes": "majority", "limit": {"train": 2, "test": 5}}
    assert settings.backbone == "embedded"
    assert experiment.settings("paper").backbone == "ViT-B-16-quickgelu:openai"
    assert experiment.training == {"lr": 0.001, "epochs": 5}, "laying a profile over it must not change an experiment"


def test_overrides_are_laid_over_the_profile():
    experiment = loading.parse(TEXT, "test")
    overrides = {
        "training.lr": 0.5,
        "training.augmentation.flip": 0.5,
        "data.limit.test": 1,
        "backbone": "embedded:random",
    }
    settings = experiment.settings("smoke", overrides)
    assert settings.training == {"lr": 0.5, "epochs": 1, "augmentation": {"flip": 0.5}}
    assert settings.data["limit"] == {"train": 2, "test": 1}
    assert settings.backbone == "embedded:random"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainig.lr": 1}, r"unknown setting of coop-ferplus 'trainig'; did you mean 'training'"),
        ({"method": "tpt"}, "unknown setting of coop-ferplus 'method'"),
        ({"training": 3}, r"expected settings of training, got 3; name one, such as training\.NAME=VALUE"),
        ({"backbone.name": "x"}, "expected a name for backbone"),
        ({"backbone": 3}, "expected a name for backbone, got 3"),
    ],
)
def test_wrong_overrides_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        loading.parse(TEXT, "test").settings("smoke", overrides)


def test_an_unknown_experiment_or_profile_gets_the_nearest():
    with pytest.raises(UserError, match="unknown experiment 'coop-ferplsu'; did you mean 'coop-ferplus'"):
        experiments.load("coop-ferplsu")
    with pytest.raises(UserError, match="unknown profile of coop-ferplus 'papr'; did you mean 'paper'"):
        loading.parse(TEXT, "test").settings("papr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: CoOp\n", ""), "expected the key 'title'"),
        (("title:", "titel: x\ntitle:"), "unknown setting of test 'titel'; did you mean 'title'"),
        (("title:", "name: x\ntitle:"), "key 'name' comes twice"),
        (("smoke:", "smok:"), "unknown profile in coop-ferplus 'smok'; did you mean 'smoke'"),
        (("{training: {epochs: 1}", "{trainig: {epochs: 1}"), "did you mean 'training'"),
        (("dataset: ferplus", "dataset: raf-db"), "expected the name coop-raf-db, got 'coop-ferplus'"),
        (("title: CoOp", "title: [CoOp"), "expected YAML, got an error"),
        (("title: CoOp", "title: 3"), "title: expected str, got 3"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(change, message):
    assert change[0] in TEXT
    with pytest.raises(UserError, match=message) as caught:
        loading.parse(TEXT.replace(*change), "test")
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_refused():
    with pytest.raises(UserError, match="expected the key 'name'"):
        loading.parse("", "test")


def test_override_values_are_typed_as_yaml():
    found = loading.parse_overrides(
        [
            "a.lr=1e-3",
            "a.b=off",
            "c=true",
            "d=[1, 2.5]",
            "e=null",
            "f=-1.5E+2",
            "g=010",
            "h=7",
            "i=a = b",
            "j=.5",
            "k=1:30",
        ]
    )
    assert found == {
        "a.lr": 0.001, "a.b": "off", "c": True, "d": [1, 2.5], "e": None, "f": -150.0, "g": "010", "h": 7, "i": "a = b",
        "j": 0.5, "k": "1:30",
    }  # fmt: skip
    assert isinstance(found["h"], int)
    assert isinstance(found["f"], float)


@pytest.mark.parametrize("wrong", ["lr", "=1", "training..lr=1", ".lr=1", "training.lr=[1"])
def test_an_override_that_is_none_is_refused(wrong):
    with pytest.raises(UserError, match="--set: expected"):
        loading.parse_overrides([wrong])


def test_an_override_that_comes_twice_is_refused():
    with pytest.raises(UserError, match=r"expected training\.lr once"):
        loading.parse_overrides(["training.lr=1", "training.lr=2"])


def test_yaml_cannot_run_code():
    with pytest.raises(UserError, match="expected a YAML value"):
        loading.parse_overrides(["model.x=!!python/object/apply:os.getcwd []"])


def test_flat_undoes_nesting():
    assert loading.flat({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {"a.b.c": 1, "a.d": {}, "e": [1]}
