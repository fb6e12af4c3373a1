"""The command line: listings, exit codes, one line for a mistake. Runs on data are tested in tests/experiments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fer_core
from fer_core import (
    adapt,
    cli,
    cli_data,
    cli_predict,
    cli_reproduce,
    cli_sweep,
    data,
    experiments,
    models,
    table_formats,
    tables,
)

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fer_core.__file__).parents[1])}


def call(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fer_core.cli", *arguments], capture_output=True, text=True, env=ENVIRONMENT, **options
    )


def test_help_comes_without_what_is_slow_to_import():
    script = "import sys; from fer_core import cli; cli.parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert {"torch", "open_clip", "numpy", "yaml"}.isdisjoint(done.stdout.split())
    done = call("--help")
    assert done.returncode == 0
    for command in ("run", "experiments", "methods", "datasets", "tables"):
        assert command in done.stdout


def test_version():
    assert call("--version").stdout == f"fer-core {fer_core.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("fly",), ("run",), ("run", "coop-ferplus", "--seed", "x"), ("tables", "--format", "pdf")]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: fer-core" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["-1", "0,0", "1,,2", "0.5"])
def test_seeds_are_a_list_of_distinct_numbers(seeds, capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "coop-ferplus", f"--seed={seeds}"])
    assert f"invalid list of seeds value: '{seeds}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coop-ferplsu",), "unknown experiment 'coop-ferplsu'; did you mean 'coop-ferplus'?"),
        (("coop-ferplus", "--profile", "ful"), "unknown profile of coop-ferplus 'ful'; did you mean 'full'?"),
        (
            ("coop-ferplus", "--set", "trainig.lr=1"),
            "unknown setting of coop-ferplus 'trainig'; did you mean 'training'?",
        ),
        (("coop-ferplus", "--set", "training.lr"), "--set: expected KEY=VALUE, got 'training.lr'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message):
    done = call("run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"fer-core: error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def broken(_arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_experiments", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["experiments"])


@pytest.mark.parametrize(("module", "call", "arguments", "goes_on"), [
    (cli, "_experiments", ["experiments"], False),
    (cli_data, "_check", ["data", "check", "raf-db"], False),
    (cli_predict, "_predict", ["predict", "a.png"], False),
    (cli, "_run", ["run", "coop-facs-still-8"], True),
    (cli_sweep, "_sweep", ["sweep", "coop-*"], True),
    (cli_reproduce, "_reproduce", ["reproduce"], False),  # keeps nothing
])  # fmt: skip
def test_an_interrupt_is_one_line_and_exit_code_130(monkeypatch, capsys, module, call, arguments, goes_on):
    def interrupted(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, call, interrupted)
    assert cli.main(arguments) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fer-core: interrupted; no record") if goes_on else line == "fer-core: interrupted"


@pytest.mark.parametrize("arguments", [
    ("predict", ""), ("run", "coop-facs-still-8", "--records", ""), ("run", "coop-facs-still-8", "--data-root", ""),
])  # fmt: skip
def test_an_empty_word_is_no_default(arguments, capsys):
    """It is a shell variable that is not set: the default folder would be written to."""
    assert cli.main(arguments) == 2
    assert "expected something, got an empty word" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line_and_exit_code_2(monkeypatch, capsys):
    def refused(*_):
        raise PermissionError(13, "Permission denied", "/somewhere/face.jpg")

    monkeypatch.setattr(cli, "_refuse_empty", refused)
    assert cli.main(["experiments"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "/somewhere/face.jpg: expected to read or write it, got: Permission denied" in line


@pytest.mark.parametrize("given", [
    "training.lr=1" + 400 * "0", "training.lr=.nan", "training.lr=.inf", "training.lr=!!int abc",
    "training.lr=!!timestamp abc", "data.x=!!bool maybe",
])  # fmt: skip
def test_numbers_that_are_none_are_mistakes(given, tmp_path, capsys):
    line = ["run", "coop-facs-still-8", "--profile", "smoke", "--records", str(tmp_path), "--set", given]
    assert cli.main(line) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "expected" in told


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    for option, place in (("--records", "file"), ("--models", "file"), ("--records", "file/below")):
        line = ["run", "coop-facs-still-8", "--profile", "smoke", "--keep-model", "--quiet"]
        options = {"--records": tmp_path / "r", "--models": tmp_path / "m", option: tmp_path / place}
        assert cli.main([*line, *(str(word) for pair in options.items() for word in pair)]) == 2
        assert f"{option[2:]}: cannot write" in capsys.readouterr().err
    (tmp_path / "x.json").mkdir()
    assert cli.main(["predict", str(tmp_path), "--out", str(tmp_path / "x.json")]) == 2
    assert f"--out: cannot write {tmp_path}/x.json (Is a directory)" in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "x.json"]


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_core.cli", "experiments", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.parametrize("arguments", [["tables", "baselines-ferplus"], ["tables", "baselines-ferplus", "--json"],
                                       ["data", "list", "--json"]])  # fmt: skip
def test_terminals_without_utf_8_are_written_to(arguments):
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "fer_core.cli", *arguments], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.isascii()
    if "--json" in arguments:
        json.loads(done.stdout)


@pytest.mark.parametrize(("given", "message"), [
    (("tables", "baselines-ferplus", "--records", "{}/typo"), "--records: expected a folder of records, found none at"),
    (("tables", "--format", "latex"), "--format latex: expected a table to print, got no name"),
    (("sweep", "coop-ferplus", "--wait"), "--wait and --parameter: expected --cluster with them, got none"),
    (("sweep", "coop-ferplus", "--parameter", "timeout_min=5"), "--wait and --parameter: expected --cluster with them"),
])  # fmt: skip
def test_options_that_would_do_nothing_are_mistakes(given, message, tmp_path, capsys):
    assert cli.main([each.format(tmp_path) for each in given]) == 2
    assert message in capsys.readouterr().err


def listed(capsys, *arguments):
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in found]
    return {row["name"]: row for row in found}


def test_experiments_are_listed(capsys):
    found = listed(capsys, "experiments")
    assert tuple(found) == experiments.names()
    assert found["coop-ferplus"]["profiles"] == ["smoke", "quick", "full", "paper"]


def test_methods_are_listed_with_their_settings(capsys):
    found = listed(capsys, "methods")
    assert tuple(found) == (*models.names(), *adapt.names())
    assert found["coop"]["settings"]["context_length"] == 16


def test_data_sets_are_listed_with_what_they_need(capsys):
    found = listed(capsys, "datasets")
    assert tuple(found) == data.names()
    assert found["facs-still-8"]["embedded"] is True
    assert "--data-root" in found["ferplus"]["needs"]


def test_tables_are_listed_and_printed(capsys, tmp_path):
    assert tuple(listed(capsys, "tables")) == tables.names()
    assert tuple(table_formats.FORMATS) == cli.FORMATS
    for kind, printed in table_formats.FORMATS.items():
        assert cli.main(["tables", "baselines-ferplus", "--format", kind, "--records", str(tmp_path)]) == 0
        assert capsys.readouterr().out == printed(tables.build("baselines-ferplus", tmp_path))
    assert cli.main(["tables", "baselines-ferplus", "--json", "--format", "csv", "--records", str(tmp_path)]) == 2
    assert "--json: expected one format, got --format csv, too; drop one" in capsys.readouterr().err
    assert cli.main(["tables", "baselines-ferplus", "--json", "--records", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "baselines-ferplus"


def test_an_unknown_table_is_a_mistake(capsys):
    assert cli.main(["tables", "baselines-ferpls"]) == 2
    assert (
        capsys.readouterr().err
        == "fer-core: error: unknown table 'baselines-ferpls'; did you mean 'baselines-ferplus'?\n"
    )
