"""The answers about recordings are those of the command line."""

import base64
import csv
import io
import json
from pathlib import Path

import pytest
from command_line import run
from servers import RECORDINGS, Server, encoded, form

from audiomamba.infer import Tagger

FILES = ("bell.wav", "blackbird.ogg", "cat.mp3", "guitar.flac")


def same(mine: object, others: object) -> bool:
    """Equal, numbers to 1e-6, but for the name of the recording."""
    if isinstance(mine, dict):
        assert isinstance(others, dict)
        assert mine.keys() == others.keys()
        return all(same(mine[key], others[key]) for key in mine.keys() - {"file"})
    if isinstance(mine, list):
        assert isinstance(others, list)
        return len(mine) == len(others) and all(map(same, mine, others))
    if isinstance(mine, float):
        return mine == pytest.approx(others, abs=1.001e-6)  # one of the last digit that is written
    return mine == others


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One recording of each of six formats."""
    folder, source = tmp_path_factory.mktemp("formats"), RECORDINGS / "rooster.wav"
    made = [encoded(folder / "a.m4a", "aac", source), encoded(folder / "b.webm", "opus", source)]
    return [*(RECORDINGS / name for name in FILES), *made]


def test_tags_are_those_of_the_command_line(server: Server, recordings: list[Path]) -> None:
    printed = run("tag", *recordings, "--json", "--top", 5).stdout.splitlines()

    for path, line in zip(recordings, printed, strict=True):
        answer = server.post("/v1/tag?top_k=5", path.read_bytes())
        assert answer.status == 200
        assert same(answer.json(), json.loads(line)), path.name
        assert answer.json()["file"] == "audio data"


def test_events_are_those_of_the_command_line(server: Server, recordings: list[Path]) -> None:
    chosen = recordings[:2]
    options = ("--threshold", 0.05, "--median", 0.3)
    printed = run("timeline", *chosen, *options, "--format", "json").stdout.splitlines()

    for path, line in zip(chosen, printed, strict=True):
        answer = server.post("/v1/timeline?threshold=0.05&median_s=0.3", path.read_bytes())
        assert answer.json()["events"]
        assert same(answer.json(), json.loads(line))


def test_events_come_as_csv_and_for_audacity(server: Server) -> None:
    sound = (RECORDINGS / "blackbird.ogg").read_bytes()
    table = server.post("/v1/timeline?threshold=0.05&format=csv", sound)
    labels = server.post("/v1/timeline?threshold=0.05&format=audacity", sound)

    rows = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["label"] for row in rows] == [
        line.split("\t")[2] for line in labels.body.decode().splitlines()
    ]


def test_embeddings_are_those_of_the_tagger(server: Server, general: Tagger) -> None:
    path = RECORDINGS / "guitar.flac"
    whole = server.post("/v1/embed", path.read_bytes()).json()
    steps = server.post("/v1/embed?frames=true&step_s=0.5", path.read_bytes()).json()

    assert whole["embeddings"][0] == pytest.approx(general.embed(path).tolist(), abs=1e-6)
    assert len(steps["embeddings"]) == -(-steps["seconds"] // 0.5)


def test_a_form_is_read_as_the_body_is(server: Server) -> None:
    sound = (RECORDINGS / "dog.ogg").read_bytes()
    body, kind = form(sound)

    assert (
        server.post("/v1/tag", sound).body
        == server.ask("POST", "/v1/tag", body, {"content-type": kind}).body
    )


def test_the_hub_form_of_a_request_is_answered_in_the_hub_form(server: Server) -> None:
    sound = (RECORDINGS / "dog.ogg").read_bytes()
    content = {"inputs": base64.b64encode(sound).decode(), "parameters": {"top_k": 2}}
    kind = {"content-type": "application/json"}
    short = server.ask("POST", "/", json.dumps(content).encode(), kind).json()
    raw = server.post("/", sound).json()

    assert [set(row) for row in raw] == [{"label", "score"}] * 5
    assert short == raw[:2]
    for wrong in ({"inputs": "?"}, {"inputs": 3}, [], {**content, "parameters": {"top_k": -1}}):
        assert server.ask("POST", "/", json.dumps(wrong).encode(), kind).status == 400


def test_wrong_calls_get_one_line(server: Server) -> None:
    sound = (RECORDINGS / "dog.ogg").read_bytes()
    expected = {
        "/v1/tag?model=generic": (404, "unknown model 'generic'; did you mean general?"),
        "/v1/tag?top_k=none": (400, "top_k is 'none': Input should be a valid integer"),
        "/v1/tag?window_s=90": (400, "a window of 90.0 s was asked for"),
        "/v1/timeline?step_s=0": (400, "step_s is 0.0; expected more than 0"),
        "/v1/nothing": (404, "Not Found"),
    }

    for path, (status, message) in expected.items():
        answer = server.post(path, sound)
        assert answer.status == status
        assert answer.json()["error"].startswith(message)
    assert server.post("/v1/tag", b"").status == 400
    assert server.post("/v1/tag", b"no sound").status == 422


def test_the_server_tells_about_itself(server: Server, general: Tagger) -> None:
    (model,) = server.get("/v1/models").json()
    schema = server.get("/openapi.json").json()

    assert model["name"] == "general"
    assert tuple(model["labels"]) == general.labels
    assert model["thresholds"] == general.thresholds
    assert server.get("/health").status == server.get("/ready").status == 200
    for path in ("/v1/tag", "/v1/timeline", "/v1/embed", "/"):
        answer = schema["paths"][path]["post"]["responses"]["200"]
        assert answer["content"]["application/json"]["example"]


def test_only_named_hosts_are_fetched_from(server: Server, elsewhere: str) -> None:
    sound = (RECORDINGS / "dog.ogg").read_bytes()
    fetched = server.ask("POST", f"/v1/tag?address=http://{elsewhere}/dog.ogg")

    assert fetched.body == server.post("/v1/tag", sound).body
    assert server.ask("POST", f"/v1/tag?address=http://{elsewhere}/none.ogg").status == 422
    port = elsewhere.partition(":")[2]
    for address in (
        f"http://localhost:{port}/dog.ogg",
        f"http://{elsewhere.replace(':', '@')}/dog.ogg",
        f"http://user@{elsewhere}/dog.ogg",
        "http://127.0.0.1/dog.ogg",
        "file:///etc/passwd",
        "http://[::1/",
    ):
        assert server.ask("POST", f"/v1/tag?address={address}").status == 403
