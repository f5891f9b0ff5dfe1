"""One model trained by two hosts: network namespaces of this machine with a cable between them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from audiomamba import checkpoints, recipes
from audiomamba.recipes import Recipe, override

IP = shutil.which("ip")
CABLE = f"am{os.getpid() % 100_000}"
HOSTS = (f"{CABLE}a", f"{CABLE}b")
ADDRESS = "10.123.45.1"


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces that reach each other and nothing else."""
    if IP is None:
        pytest.skip("the program ip is not installed")
    try:
        made = [subprocess.run([IP, "netns", "add", host], check=False) for host in HOSTS]
        if any(one.returncode for one in made):
            pytest.skip("network namespaces are not permitted here")
        ends = ["veth", "peer", "name", HOSTS[1], "netns", HOSTS[1]]
        for arguments in (
            ["link", "add", HOSTS[0], "netns", HOSTS[0], "type", *ends],
            *(
                ["-n", host, *rest]
                for number, host in enumerate(HOSTS, start=1)
                for rest in (
                    ["address", "add", f"10.123.45.{number}/24", "dev", host],
                    ["link", "set", host, "up"],
                    ["link", "set", "lo", "up"],
                )
            ),
        ):
            subprocess.run([IP, *arguments], check=True)
        yield HOSTS
    finally:
        for host in HOSTS:
            subprocess.run([IP, "netns", "delete", host], check=False, stderr=subprocess.DEVNULL)


def script_of(recipe: Recipe, folder: Path) -> Path:
    """The command line, with a recipe of the test's own."""
    settings, script = folder / "recipe.json", folder / "train.py"
    settings.write_text(json.dumps(recipes.to_dict(recipe)))
    script.write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "from audiomamba import cli, recipes\n"
        f"recipe = recipes.from_dict(json.loads(Path({str(settings)!r}).read_text()))\n"
        "recipes.get = lambda _name: recipe\n"
        "sys.exit(cli.main())\n"
    )
    return script


def torchrun(script: Path, data: Path, out: Path, *options: str) -> list[str]:
    """The command of one host."""
    launcher = [sys.executable, "-m", "torch.distributed.run", *options]
    return [
        *launcher,
        str(script),
        "train",
        "tiny",
        f"--data={data}",
        f"--out={out}",
        "--threads=1",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hosts_do_what_two_processes_of_one_do(
    recipe: Recipe, corpus: Path, hosts: tuple[str, str], tmp_path: Path
) -> None:
    script = script_of(override(recipe, ["precision=float32"]), tmp_path)
    both = [
        subprocess.Popen(
            [
                *(IP, "netns", "exec", host, "env", f"GLOO_SOCKET_IFNAME={host}"),
                *torchrun(
                    script,
                    corpus,
                    tmp_path / "two",
                    "--nnodes=2",
                    f"--node-rank={rank}",
                    "--nproc-per-node=1",
                    f"--master-addr={ADDRESS}",
                    "--master-port=29500",
                ),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, host in enumerate(hosts)
    ]
    printed = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert ["The model is in" in text for text in printed] == [True, False]

    one = torchrun(script, corpus, tmp_path / "one", "--standalone", "--nproc-per-node=2")
    subprocess.run(one, check=True, stdout=subprocess.DEVNULL)

    first, second = (
        checkpoints.load(tmp_path / name / "last").model.state_dict() for name in ("one", "two")
    )
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, rtol=0, atol=1e-5)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["n_processes"] == 2
