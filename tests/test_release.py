"""What a release says of itself, in the places where it has to."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import audiomamba

ROOT = Path(__file__).parents[1]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_stands_in_one_place_and_the_citation_agrees() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))

    assert project()["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", audiomamba.__version__)
    assert citation["version"] == audiomamba.__version__
    assert citation["license"] == project()["project"]["license"]
    assert f"## {audiomamba.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8").replace(
        "[", ""
    ).replace("]", "")


def test_what_is_promised_of_pytorch_is_what_is_tested() -> None:
    (promised,) = [it for it in project()["project"]["dependencies"] if it.startswith("torch")]
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert promised == "torch>=2.5"
    assert '"torch==2.5.1"' in makefile


@pytest.mark.parametrize("command", ["test", "lint", "docs", "oldest-torch", "release-check"])
def test_the_workflow_runs_what_developers_run(command: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    assert {"run": f"make {command}"} in steps
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_every_python_that_is_named_is_tested() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    named = {
        it.rpartition(" ")[2]
        for it in project()["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", it)
    }

    assert named <= set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
