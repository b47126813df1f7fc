"""`spanwise run`: the command line, the environment, and the user's own sitecustomize."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spanwise.commands.execute import BOOTSTRAP, command_line, environment
from spanwise.commands.group import cli


def test_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("")
    assert command_line(["app.py", "--x"]) == [sys.executable, "app.py", "--x"]
    assert command_line(["package", "-v"], module=True) == [sys.executable, "-m", "package", "-v"]
    assert command_line([sys.executable, "-c", "1"]) == [sys.executable, "-c", "1"]
    assert command_line(["tool", "app.py"]) == ["tool", "app.py"]


def test_a_program_is_found_on_path_and_keeps_its_name(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text('#!/bin/sh\necho "$0" "$1"\n')
    program.chmod(0o755)
    done = run("tool", "app.py", folder=tmp_path, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.stdout.split() == [str(program), "app.py"], done.stderr


def test_the_bootstrap_folder_is_first_and_once() -> None:
    assert (Path(BOOTSTRAP) / "sitecustomize.py").is_file()
    made = environment({"PYTHONPATH": f"/a{os.pathsep}/b", "X": "1"})
    assert made["PYTHONPATH"].split(os.pathsep) == [BOOTSTRAP, "/a", "/b"]
    assert made["X"] == "1"
    assert environment(made) == made
    assert environment({})["PYTHONPATH"] == BOOTSTRAP


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `spanwise run` with no exporter."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    return subprocess.run(
        [sys.executable, "-m", "spanwise", "run", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**plain, **none, **variables},
    )


def test_the_user_s_sitecustomize_still_runs_and_telemetry_is_on(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the user\\'s own')\n")
    code = "from opentelemetry import trace; print(type(trace.get_tracer_provider()).__module__)"
    done = run(sys.executable, "-c", code, folder=tmp_path, PYTHONPATH=str(tmp_path))
    # The command's own interpreter may have said so before, where it has not left it in its buffer.
    assert done.stdout.splitlines()[-2:] == ["the user's own", "spanwise.spans.provider"], done.stderr


def test_exit_status_and_arguments_are_the_program_s_own(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import sys; print(sys.argv[1:]); sys.exit(5)")
    done = run("app.py", "--report", "-m", "x", folder=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (5, "['--report', '-m', 'x']"), done.stderr
    assert done.stderr == ""


def test_options_become_variables(tmp_path: Path) -> None:
    code = "import os; print(os.environ['OTEL_SERVICE_NAME'], os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'])"
    done = run("--service", "s", "--endpoint", "http://x", sys.executable, "-c", code, folder=tmp_path)
    assert done.stdout.split() == ["s", "http://x"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--servce", "s", "python"), "No such option '--servce'. Did you mean '--service'?"),
        (("run", "--report", "-x", "python"), "No such option '-x'"),
        (("rnu", "python"), "No such command 'rnu'. Did you mean 'run'?"),
        (("consle",), "No such command 'consle'. Did you mean 'console'?"),
        (("zzz",), "No such command 'zzz'. There are run, demo, console"),
    ],
)
def test_what_is_misspelt_is_told_the_nearest(arguments: tuple[str, ...], said: str) -> None:
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 2
    assert said.replace("'-", "").replace("'", "") in found.output.replace("'-", "").replace("'", "")


@pytest.mark.parametrize("options", [(), ("--service", "s")])
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("no-such-program", "no program 'no-such-program' on PATH"),
        ("missing.py", "no file 'missing.py' here"),
        ("./missing.py", "no file './missing.py' here"),
        (".", "'.' cannot be run"),
    ],
)
def test_a_missing_program_is_one_line_and_status_2(
    program: str, said: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*options, program, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"spanwise: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_a_plain_run_reads_its_command_line_without_a_library(tmp_path: Path) -> None:
    """It is on every start's way: what it imports, each worker's start waits for."""
    code = (
        "import os, sys\n"
        "slow = {'click', 'logging', 'typing'}\n"
        "os.execvpe = lambda *_: (print(sorted(slow & set(sys.modules))), sys.exit(0))\n"
        "sys.argv = ['spanwise', 'run', 'python']\n"
        "from spanwise.commands.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(BOOTSTRAP).parents[1])},
        cwd=tmp_path,
    )
    assert done.stdout == "[]\n", done.stderr


def test_an_empty_name_of_a_program_is_told(tmp_path: Path) -> None:
    done = run("", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "spanwise: the program's name is empty. `spanwise run python app.py` runs a file\n"


def test_a_working_folder_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import os; os.rmdir({str(gone)!r})\n"
        "import spanwise; spanwise.configure(traces_exporter='console', logs_exporter='none')\n"
        "from opentelemetry import trace; trace.get_tracer('x').start_span('arrives').end()"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=gone,
        env={**plain, "OTEL_METRICS_EXPORTER": "none"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "arrives" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["thresholds", "schema"], ["--help"], ["generate", "--check"]])
def test_output_that_cannot_be_written_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "spanwise", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
    assert done.returncode == 2
    assert done.stderr == "spanwise: the output cannot be written: No space left on device\n"
