import platform
import shutil
import subprocess
import sys

import pytest
import torch

from audiomamba import provenance


def git(folder, *arguments):
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    call = ["git", "-C", folder, *settings, *arguments]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def test_versions_are_those_that_run_here():
    found = provenance.versions()
    assert list(found)[:2] == ["python", "platform"]
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__.partition("+")[0] or torch.__version__


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert list(provenance.versions()) == ["python", "platform", "torch"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_says_whether_files_were_changed(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.commit() is None
    git(tmp_path, "init", "-q")
    (package / "errors.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit() == head
    (tmp_path / "beside").touch()
    assert provenance.commit() == head
    (package / "errors.py").write_text("x = 1")
    assert provenance.commit() == f"{head}+"


def test_a_checkout_that_only_surrounds_the_package_is_not_its_own(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-q")
    package = tmp_path / "site-packages"
    package.mkdir()
    (package / "errors.py").touch()
    (tmp_path / "own").touch()
    git(tmp_path, "add", "own")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.commit() is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/usr/bin/audiomamba", "train", "a b"], "audiomamba train 'a b'"),
        (["/x/audiomamba/__main__.py", "doctor"], "python -m audiomamba doctor"),
    ],
)
def test_the_command_is_what_a_shell_takes(arguments, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", arguments)
    assert provenance.command_line() == expected
