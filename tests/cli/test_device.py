"""The option --device of the commands that have it."""

from pathlib import Path

import pytest
from command_line import run


@pytest.mark.parametrize("command", ["tag", "timeline", "embed", "evaluate"])
@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("gpu", "device 'gpu' is not known; expected cpu, cuda or cuda:N"),
        ("cuda:99", "device cuda:99 was asked for; "),
    ],
)
def test_a_wrong_device_gets_one_line(
    command: str, device: str, reason: str, model_folder: Path, good: Path
) -> None:
    arguments = {
        "tag": (good, "--model", model_folder),
        "timeline": (good, "--model", model_folder),
        "embed": (good, "--model", model_folder, "--out", good.with_name("e.npy")),
        "evaluate": (model_folder, "--data", good.parent),
    }[command]

    result = run(command, *arguments, "--device", device)

    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"audiomamba: {reason}")
    assert [file.name for file in good.parent.iterdir()] == ["good.wav"]


def test_the_processor_can_be_named(model_folder: Path, good: Path) -> None:
    result = run("tag", good, "--model", model_folder, "--device", "cpu", "--json")

    assert result.stdout == run("tag", good, "--model", model_folder, "--json").stdout
