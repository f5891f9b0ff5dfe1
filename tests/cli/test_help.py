"""What holds for every command: help, examples, the calls in the documents."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import COMMANDS, run
from typer.core import TyperGroup

from audiomamba import __version__
from audiomamba.cli import app


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = run(name, "--help")

    assert result.exit_code == 0
    assert f"audiomamba {name}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_lists_every_command_and_loads_no_torch() -> None:
    code = "import sys, audiomamba.cli; sys.argv[1:] = ['--help']\n"
    code += "try: audiomamba.cli.main()\nfinally: assert 'torch' not in sys.modules"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert all(name in done.stdout for name in COMMANDS)


def test_the_version_is_shown() -> None:
    assert run("--version").stdout == f"audiomamba {__version__}\n"


def calls_in(document: str) -> list[str]:
    """The lines of a document at the root of the project that call the command line."""
    lines = Path(__file__).parents[2].joinpath(document).read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    audiomamba ")]


@pytest.mark.parametrize("call", calls_in("README.md"))
def test_every_call_in_the_readme_is_understood(call: str) -> None:
    name, *arguments = shlex.split(call.partition("|")[0], comments=True)[1:]
    commands = typer.main.get_command(app)

    assert isinstance(commands, TyperGroup)
    commands.commands[name].make_context(name, arguments)
