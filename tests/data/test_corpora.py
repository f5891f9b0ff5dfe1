import os
from collections import Counter
from pathlib import Path

import pytest

from audiomamba import recipes
from audiomamba.data import CORPORA, get_corpus, open_manifest
from audiomamba.data.corpora import corpus_with
from audiomamba.errors import AudioError, DataError, UnknownNameError

HEADER = "filename,fold,target,category,esc10,src_file,take\n"


@pytest.fixture
def esc50(tmp_path: Path, write_wav) -> Path:
    """A data set laid out like ESC-50: three classes, two of them in ESC-10, two folds."""
    lines = []
    for fold in (1, 2):
        for target, category, esc10 in (
            (38, "clock_tick", True),
            (0, "dog", True),
            (7, "hen", False),
        ):
            name = f"{fold}-100-A-{target}.wav"
            write_wav(f"audio/{name}")
            lines.append(f"{name},{fold},{target},{category},{esc10},100,A\n")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(HEADER + "".join(lines))
    return tmp_path


def test_esc50_classes_follow_the_target_numbers(esc50):
    manifest = open_manifest(esc50, "esc50")
    assert manifest.labels == ("dog", "hen", "clock_tick")
    assert manifest.folds == ("1", "2")
    assert [clip.labels[0] for clip in manifest.select("1")] == ["clock_tick", "dog", "hen"]


def test_esc10_is_a_part_of_esc50(esc50):
    manifest = open_manifest(esc50, "esc10")
    assert manifest.labels == ("dog", "clock_tick")
    assert len(manifest.clips) == 4


def test_the_layout_is_recognized(esc50):
    assert open_manifest(esc50) == open_manifest(esc50, "esc50")


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_one_name_and_one_place(name):
    corpus = CORPORA[name]
    assert corpus.name == name
    assert corpus.read.__module__.startswith("audiomamba.data.corpora.")
    spelled = [it for one in CORPORA.values() for it in (one.name, *one.also)]
    assert spelled.count(name) == 1
    labels = corpus.label_list
    assert labels is None or (corpus.labels and len(labels.ids) == len(labels.names))
    assert (corpus.download is None) or corpus.license != "unknown"


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("voxceleb", "voxceleb1"),
        ("speech_commands_v2", "speech_commands"),
        ("audioset_20k", "audioset20k"),
        ("esc10", "esc10"),
    ],
)
def test_old_spellings_are_understood(spelled, name):
    assert get_corpus(spelled) is CORPORA[name]


@pytest.mark.parametrize(
    ("n_classes", "name"),
    [(527, "audioset"), (309, "vggsound"), (1251, "voxceleb1"), (35, "speech_commands"),
     (44, "epic_sounds"), (50, "esc50"), (7, None)],
)  # fmt: skip
def test_a_corpus_is_guessed_by_its_classes(n_classes, name):
    found = corpus_with(n_classes)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("name", CORPORA)
def test_published_models_and_recipes_read_a_corpus_alike(name):
    own = [it for it in recipes.RECIPES.values() if it.name.startswith(f"{name}/aum-")]
    published = [it for it in own if not it.measure_statistics]
    assert {it.front_end for it in published} <= {CORPORA[name].front_end}
    assert published or name in ("esc10", "esc50", "own")


def test_an_unknown_corpus_offers_names(esc50):
    with pytest.raises(UnknownNameError, match="did you mean esc50"):
        open_manifest(esc50, "esc51")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        open_manifest(tmp_path / "nowhere", "esc10")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"esc50.csv: cannot be read"):
        open_manifest(tmp_path, "esc10")


def test_a_table_without_a_column_is_refused(esc50):
    (esc50 / "meta" / "esc50.csv").write_text("filename,fold\nx.wav,1\n")
    with pytest.raises(DataError, match="no column target, category; its columns: filename, fold"):
        open_manifest(esc50, "esc50")


def test_a_line_with_too_few_cells_is_named(esc50):
    table = esc50 / "meta" / "esc50.csv"
    table.write_text(table.read_text() + "x.wav,1\n")
    with pytest.raises(DataError, match="line 8 does not have 7 cells"):
        open_manifest(esc50, "esc50")


def test_a_target_that_is_no_number_is_refused(esc50):
    table = esc50 / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace(",38,", ",x,"))
    with pytest.raises(DataError, match="has target 'x' and fold '1'"):
        open_manifest(esc50, "esc50")


def test_a_table_of_ones_own(tmp_path, write_wav):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_wav(name)
    (tmp_path / "clips.csv").write_text(
        "filename,labels,split,start_s,end_s\n"
        "a.wav,cat;dog,train,,\nb.wav,dog,train,0.1,0.3\nc.wav,,test,,\n"
    )
    manifest = open_manifest(tmp_path / "clips.csv")
    assert manifest.labels == ("cat", "dog")
    assert [clip.labels for clip in manifest.clips] == [("cat", "dog"), ("dog",), ()]
    assert (manifest.clips[1].start_s, manifest.clips[1].end_s) == (0.1, 0.3)
    assert manifest.splits == ("test", "train")
    assert not manifest.single_label


def test_a_table_with_folds(tmp_path, write_wav):
    for fold in (1, 2):
        write_wav(f"{fold}.wav")
    (tmp_path / "clips.csv").write_text("filename,label,fold\n1.wav,a,1\n2.wav,a,2\n")
    assert open_manifest(tmp_path / "clips.csv").folds == ("1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename\n1.wav\n", "no column label or labels"),
        ("filename,label\n1.wav,\n", "a clip has an empty label"),
        ("filename,label,start_s\n1.wav,a,x\n", "'x' is not a number of seconds"),
        ("filename,label\n2.wav,a\n", "not on disk: .*2.wav"),
        ("", "no column filename; its columns: none"),
    ],
)
def test_a_wrong_table_gets_one_line(tmp_path, write_wav, text, message):
    write_wav("1.wav")
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_manifest(tmp_path / "clips.csv")
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_no_table(tmp_path):
    (tmp_path / "clips.csv").write_bytes(b"\x80\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read as a CSV table"):
        open_manifest(tmp_path / "clips.csv")


def test_a_folder_per_class(tmp_path, write_wav):
    for name in ("dog/1.wav", "dog/deep/2.wav", "cat/1.wav", ".hidden/1.wav"):
        write_wav(name)
    manifest = open_manifest(tmp_path)
    assert manifest.labels == ("cat", "dog")
    assert [clip.labels[0] for clip in manifest.clips] == ["cat", "dog", "dog"]
    assert manifest.splits == ()


def test_folders_of_parts_with_a_folder_per_class(tmp_path, write_wav):
    for name in ("train/dog/1.wav", "train/cat/1.wav", "test/dog/2.wav"):
        write_wav(name)
    manifest = open_manifest(tmp_path)
    assert manifest.labels == ("cat", "dog")
    assert len(manifest.select("train")) == 2
    assert len(manifest.select("test")) == 1


def test_a_folder_without_folders_is_refused(tmp_path, write_wav):
    write_wav("1.wav")
    with pytest.raises(DataError, match="no folders in it; expected one per class"):
        open_manifest(tmp_path)


def test_a_class_folder_without_audio_is_named(tmp_path, write_wav):
    write_wav("dog/1.wav")
    (tmp_path / "cat").mkdir()
    with pytest.raises(AudioError, match="cat: the folder has no audio"):
        open_manifest(tmp_path)


@pytest.mark.corpus
def test_esc10_has_forty_clips_of_ten_classes_in_five_folds():
    folder = os.environ.get("AUDIOMAMBA_ESC10_DIR")
    if folder is None:
        pytest.skip("AUDIOMAMBA_ESC10_DIR does not say where ESC-10 is")
    manifest = open_manifest(Path(folder), "esc10")
    assert Counter(clip.labels[0] for clip in manifest.clips) == dict.fromkeys(manifest.labels, 40)
    assert manifest.labels[0] == "dog"
    assert manifest.labels[-1] == "chainsaw"
    assert manifest.folds == ("1", "2", "3", "4", "5")
    sources = [
        {clip.path.name.split("-")[1] for clip in manifest.select(f)} for f in manifest.folds
    ]
    assert sum(map(len, sources)) == len(set().union(*sources))
