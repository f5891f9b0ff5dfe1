import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from bulk_runs import run
from pyarrow.parquet import write_table

from audiomamba.bulk import Computation, Plan, make_plan
from audiomamba.bulk.sources import Recording, list_recordings
from audiomamba.errors import AudioError, ConfigError, DataError


def made(recordings: list[Recording], out: Path, model: Path, part_files: int = 20) -> Plan:
    return make_plan(recordings, str(out), model, Computation(), part_files=part_files)


def names(plan: Plan) -> list[str]:
    return [one.name for part in range(plan.n_parts) for one in plan.part(part)]


def test_every_file_is_in_one_part(clips: Path, model_folder: Path, tmp_path: Path) -> None:
    plan = made(list(list_recordings(str(clips))), tmp_path / "out", model_folder, 30)

    assert (plan.n_files, plan.n_parts) == (200, 7)
    assert sorted(names(plan)) == sorted(map(str, clips.rglob("*.wav")))
    assert [plan.n_files_of(part) for part in range(7)] == [30] * 6 + [20]
    assert all(len(plan.part(part)) == plan.n_files_of(part) for part in range(7))
    assert plan.part(0)[0].size == Path(plan.part(0)[0].file).stat().st_size


def test_the_order_in_which_files_are_found_changes_nothing(
    model_folder: Path, tmp_path: Path
) -> None:
    recordings = [Recording(f"/sounds/{number}.wav") for number in range(50)]
    one = made(recordings, tmp_path / "one", model_folder)
    other = made([*recordings[::-1], *recordings[:9]], tmp_path / "other", model_folder)

    assert one.facts["plan"] == other.facts["plan"]
    assert names(one) == names(other)


def test_a_name_that_is_no_text_is_kept(model_folder: Path, tmp_path: Path) -> None:
    plan = made([Recording("/sounds/\udcff\n.wav")], tmp_path / "out", model_folder)

    assert Plan.open(str(tmp_path / "out")).part(0) == plan.part(0)
    assert names(plan) == ["/sounds/\udcff\n.wav"]


def test_lists_and_columns_name_files(clips: Path, tmp_path: Path) -> None:
    files = sorted(map(str, clips.rglob("*.wav")))
    text, table = tmp_path / "files.txt", tmp_path / "files.parquet"
    text.write_text("\r\n".join([*files, ""]))
    write_table(pa.table({"path": files}), table)

    assert [one.name for one in list_recordings(str(text))] == files
    assert [one.name for one in list_recordings(str(table), "path")] == files
    with pytest.raises(ConfigError, match="no column 'file'; it has path"):
        list(list_recordings(str(table)))


def test_a_tar_file_stands_for_its_members(clips: Path, tmp_path: Path) -> None:
    files = sorted(clips.rglob("*.wav"))[:3]
    with tarfile.open(tmp_path / "some.tar", "w") as tar:
        for file in files:
            tar.add(file, file.name)
            info = tarfile.TarInfo(f"{file.stem}.json")
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))

    (tmp_path / "broken.tar").write_bytes(b"no tar file" * 100)
    found = list(list_recordings(str(tmp_path / "some.tar")))

    assert [one.name for one in found] == [f"{tmp_path}/some.tar#{file.name}" for file in files]
    data = (tmp_path / "some.tar").read_bytes()
    assert all(
        data[one.start : one.start + (one.size or 0)] == file.read_bytes()
        for one, file in zip(found, files, strict=True)
    )
    with pytest.raises(DataError, match="cannot be read as a tar file"):
        list(list_recordings(str(tmp_path / "broken.tar")))


def test_what_cannot_be_listed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file or folder"):
        list(list_recordings(str(tmp_path / "missing")))
    with pytest.raises(AudioError, match="has no audio files"):
        list(list_recordings(str(tmp_path)))
    with pytest.raises(ConfigError, match="storage 'ftp' is not known"):
        list(list_recordings("ftp://host/sounds"))


def test_a_plan_is_never_replaced(undisturbed: Path, clips: Path, model_folder: Path) -> None:
    before = (undisturbed / "run.json").read_bytes()

    done = run("plan", clips, "--out", undisturbed, "--model", model_folder)

    assert done.exit_code == 2
    assert "holds a plan already" in done.stderr
    assert (undisturbed / "run.json").read_bytes() == before


def test_a_folder_without_a_plan_is_named(tmp_path: Path) -> None:
    done = run("run", tmp_path)

    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "there is no plan" in done.stderr
