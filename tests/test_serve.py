"""A run served over HTTP: the numbers of predict, refusals in its words, and nothing kept."""

import asyncio
import gc
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from clineval.cli import main
from clineval.data.image_files import HeldFile, read_image
from clineval.data.phantom import phantom
from clineval.errors import InputError
from clineval.files import hash_file
from clineval.pipeline.serve import Preparing, describe_run, examine, open_run

pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra 'serve')")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
from clineval.pipeline import web  # noqa: E402
from clineval.pipeline.web import Capacity, Limits, Refused, application, check_place, last_name  # noqa: E402

pytestmark = pytest.mark.slow

HERE = "http://127.0.0.1"
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def run(finished_run):
    return open_run(finished_run)


class Client:
    """Asks an application without a network; keeps cookies as a browser does."""

    def __init__(self, app):
        self._app, self._cookies = app, {}

    def request(self, method, address, **words):
        return asyncio.run(self._asked(method, address, words))

    async def _asked(self, method, address, words):
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, cookies=self._cookies) as client:
            answer = await client.request(method, address, **words)
            self._cookies = dict(client.cookies)
            return answer

    def get(self, address, **words):
        return self.request("GET", address, **words)

    def post(self, address, **words):
        return self.request("POST", address, **words)


def client_of(run, *, limits=None, **words):
    return Client(application(run, limits=limits or Limits(), **words))


@pytest.fixture(scope="module")
def client(run):
    return client_of(run)


def png(pixels, kind="PNG", **words):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(stream, kind, **words)
    return stream.getvalue()


CHANCE = np.random.default_rng(4)
NOISE = CHANCE.integers(0, 256, (60, 44), np.uint8)
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4) * 2 + b"\x08\0\0\0\0" + bytes(12)


def without_pixels():
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.Modality = "US"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def sent(files):
    return [("images", (name, content)) for name, content in files.items()]


def by_command_line(run, files, folder, capsys, *words):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    line = ["predict", run.folder, *(folder / name for name in files), "--format", "json", *words]
    capsys.readouterr()
    code = main.run_command([*map(str, line), "--quiet"])
    return code, *capsys.readouterr()


GOOD = {
    "upright.png": png(NOISE),
    "square.jpg": png(NOISE[:40, :40], "JPEG"),
    "deep.tif": png(NOISE.astype(np.uint16) * 257, "TIFF"),
    "colour.png": png(np.stack([NOISE, NOISE, NOISE // 2], -1)),
    "=formula.png": png(NOISE.T),
}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", ()),
        ("fit=pad&second_view=false", ("--fit", "pad", "--no-second-view")),
        ("matching=false&bits=16", ("--no-matching",)),
        ("skip_unreadable=true", ("--skip-unreadable",)),
    ],
)
def test_predict_answers_what_the_command_line_prints_to_the_last_byte(
    run, client, tmp_path, capsys, query, words
):
    files = {**GOOD, "text.png": b"no image"} if "skip" in query else GOOD
    answer = client.post(f"/api/predict?{query}", files=sent(files))
    code, out, _ = by_command_line(run, files, tmp_path, capsys, *words)
    assert (code, answer.status_code) == (0, 200)
    assert answer.text == out
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zero.png", b""),
        ("text.png", b"this is text"),
        ("bomb.png", BOMB),
        ("cut.png", GOOD["upright.png"][:200]),
        ("grey.png", png(np.full((40, 40), 7, np.uint8))),
        ("without.dcm", None),
        ("text.dcm", b"no DICOM"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_in_the_words_of_the_command_line(
    run, client, tmp_path, capsys, name, content
):
    files = {name: without_pixels() if content is None else content}
    answer = client.post("/api/predict", files=sent(files))
    code, _, err = by_command_line(run, files, tmp_path, capsys)
    assert (code, answer.status_code) == (3, 422)
    assert err == f"clineval: {answer.json()['error']}\n"


def test_a_bad_option_is_refused_in_one_line(client):
    for query, words in (
        ("fit=round", "--fit needs one of as-trained, crop, top, pad; got 'round'."),
        ("bits=7", "bits: input should be greater than or equal to 8; got '7'."),
    ):
        answer = client.post(f"/api/predict?{query}", files=sent(GOOD))
        assert (answer.status_code, answer.json()) == (422, {"error": words})


FORM = {"content-type": "multipart/form-data; boundary=x"}
PART = b'--x\r\ncontent-disposition: form-data; name="images"; filename="a.png"\r\n\r\nabc'


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ({"content-type": "application/json"}, b"{}", 415, "multipart/form-data"),
        ({}, b"", 415, "multipart/form-data"),
        ({"content-type": "multipart/form-data"}, PART, 415, "multipart/form-data"),
        (FORM, b"--x--\r\n", 400, "at least one image"),
        (FORM, b"rubbish", 400, "cannot be read"),
        (FORM, PART, 400, "before it was complete"),
        (
            FORM,
            PART.replace(b'; filename="a.png"', b"") + b"\r\n--x--\r\n",
            400,
            "a field that is not a file",
        ),
        (FORM, PART + b"\r\n--x--\r\n", 422, "a.png: it cannot be read as an image"),
    ],
)
def test_a_broken_form_is_refused_with_its_status_and_a_line(client, headers, body, status, words):
    answer = client.post("/api/predict", content=body, headers=headers)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]
    assert client.get("/healthz").json() == {"status": "ok"}


def test_more_than_may_be_sent_at_once_is_refused(run):
    small = client_of(run, limits=Limits(bytes=5000, files=3, pixels=1500))
    many = client_of(run).post("/api/predict", files=[("images", ("a.png", b"x"))] * 1000)
    assert (many.status_code, many.json()["error"]) == (
        413,
        "More than 200 files at once; send fewer at a time.",
    )
    for files, words in (
        ([("images", ("a.png", b"x"))] * 4, "More than 3 files at once"),
        (sent({"large.png": bytes(5001)}), "large.png: it has more than 5,000 bytes."),
        (sent({"larger.png": bytes(30_000)}), "at once; send fewer or smaller files."),
    ):
        answer = small.post("/api/predict", files=files)
        assert answer.status_code == 413
        assert words in answer.json()["error"]
    answer = small.post("/api/predict", files=sent({"wide.png": png(NOISE)}))
    assert answer.status_code == 422
    assert "it claims 44 x 60 pixels, more than 1,500" in answer.json()["error"]


def test_the_server_stands_only_so_much_at_once_and_says_so():
    room = Capacity(2)
    room.take(2)
    with pytest.raises(Refused, match="busy") as caught:
        room.take(1)
    assert caught.value.status == 503
    room.give(1)
    room.take(1)


def test_an_answer_that_takes_too_long_or_too_much_memory_is_given_up(run, monkeypatch):
    slow = client_of(run, limits=Limits(seconds=0.2))
    monkeypatch.setattr(web, "predict_held", lambda *_: time.sleep(0.6))
    answer = slow.post("/api/predict", files=sent(GOOD))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == "The answer took longer than 0.2 s; send fewer images."

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(web, "predict_held", full)
    assert slow.post("/api/predict", files=sent(GOOD)).status_code == 503


def test_a_request_that_ran_out_of_time_keeps_its_place_and_bytes_until_its_work_has_ended(run, monkeypatch):
    monkeypatch.setattr(web, "WORKERS", 1)
    made, working, may_end = [], threading.Event(), threading.Event()

    def wait(*_):
        working.set()
        assert may_end.wait(20)

    monkeypatch.setattr(web, "predict_held", wait)
    kind = web.Service
    monkeypatch.setattr(web, "Service", lambda *given: made.append(kind(*given)) or made[-1])
    slow = client_of(run, limits=Limits(seconds=0.2, requests=2))
    (service,) = made
    try:
        first = slow.post("/api/predict", files=sent(GOOD))
        assert working.is_set()
        assert first.status_code == 503
        assert first.json()["error"] == "The answer took longer than 0.2 s; send fewer images."
        assert service._slots.left == 1, "the thread is still at work"
        assert service._held.left < web.MOST_HELD
        queued = slow.post("/api/predict", files=sent(GOOD))  # never began, so it holds nothing any more
        assert queued.status_code == 503
        assert service._slots.left == 1
    finally:
        may_end.set()
    service._pool.shutdown(wait=True)
    assert (service._slots.left, service._held.left) == (2, web.MOST_HELD)


def test_nothing_of_a_request_stays_in_memory_once_it_is_answered(run):
    asked = client_of(run, limits=Limits(bytes=50_000))
    asked.post("/api/predict", files=sent(GOOD))
    gc.collect()
    gc.disable()
    try:
        before = {id(each) for each in uploads()}
        statuses = [
            asked.post(f"/api/{route}", files=sent(files)).status_code
            for route, files in (
                ("predict", GOOD),
                ("examine?pictures=true", GOOD),
                ("predict", {"text.png": b"text"}),
                ("examine?skip_unreadable=true", {**GOOD, "text.png": b"text"}),
                ("predict", {"large.png": bytes(60_000)}),
                ("explain", GOOD),
            )
        ]
        left = [each for each in uploads() if id(each) not in before]
    finally:
        gc.enable()
    assert statuses == [200, 200, 422, 200, 413, 400]
    assert [type(each) for each in left] == []


def uploads():
    return [each for each in gc.get_objects() if type(each) in (HeldFile, web._Upload)]


def test_a_fault_of_the_program_is_one_line_without_a_name_and_the_server_goes_on(run, monkeypatch):
    said = []
    faulty = client_of(run, complain=said.append)

    def fail(*_):
        raise ZeroDivisionError("secret.png")

    monkeypatch.setattr(web, "predict_held", fail)
    answer = faulty.post("/api/predict", files=sent({"secret.png": GOOD["upright.png"]}))
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert said == ["A request ended in an unexpected fault (ZeroDivisionError)."]
    assert faulty.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\patients\\lesion.png", "lesion.png"),
        ("..", "unnamed"),
        ("a/", "unnamed"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
        ("a\x00b.png", "ab.png"),
    ],
)
def test_a_name_is_never_a_path(given, kept):
    assert last_name(given) == kept


def test_path_tricks_in_names_come_to_nothing(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../up.png", "/etc/passwd", "a/../../b.png", "..\\..\\c.png"]
    files = [("images", (name, GOOD["upright.png"])) for name in names]
    found = client.post("/api/predict", files=files).json()["images"]
    assert [each["image"] for each in found] == ["up.png", "passwd", "b.png", "c.png"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_unknown_is_a_line_of_json(client):
    for method, address, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/api/predict", 405),
        ("POST", "/api/model", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/report", 404),
    ):
        answer = client.request(method, address)
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), address


# Who may ask ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8642", 200),
        ("localhost:1", 200),
        ("[::1]:8642", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.5", 421),
        ("", 421),
        ("[", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_a_foreign_host_header_is_refused(client, host, status):
    for address in ("/", "/healthz", "/api/model"):
        assert client.get(address, headers={"host": host}).status_code == status


def test_a_server_for_every_address_is_known_by_any_but_by_no_foreign_name(run):
    anywhere = client_of(run, host="0.0.0.0", token=TOKEN)
    for host, status in (("192.168.1.5:8642", 200), ("evil.example", 421)):
        assert anywhere.get("/healthz", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"host": "127.0.0.1:9000", "origin": "http://127.0.0.1:9000"}, 200),  # a tunnel from another port
        ({"host": "127.0.0.1:8642", "origin": "https://clinic.example"}, 403),  # a proxy
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_the_page_of_another_site_cannot_ask(client, headers, status):
    answer = client.post("/api/predict", files=sent(GOOD), headers=headers)
    assert answer.status_code == status


def test_without_the_right_token_nothing_is_told(run):
    locked = client_of(run, token=TOKEN)
    for address in ("/api/model", "/report", "/page.js", "/openapi.json", "/api"):
        assert locked.get(address).status_code == 401
    for given in (
        "Bearer wrong-token-wrong-token",
        f"Basic {TOKEN}",
        "Bearer",
        f"Bearer {TOKEN}x",
        "Bearer é",
    ):
        headers = {"authorization": given.encode()}
        assert locked.post("/api/predict", files=sent(GOOD), headers=headers).status_code == 401
    assert locked.get("/healthz").status_code == 200
    right = {"authorization": f"Bearer {TOKEN}"}
    assert locked.post("/api/predict", files=sent(GOOD), headers=right).status_code == 200
    assert locked.get("/api/model", headers=right).status_code == 200


def test_a_browser_gives_the_token_once_and_keeps_a_cookie_that_is_not_the_token(run):
    locked = client_of(run, token=TOKEN)
    assert "Token" in locked.get("/").text
    assert locked.get(f"/?token={TOKEN}x").status_code == 401
    answer = locked.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert locked.get("/").status_code == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other computers connect and needs --token"),
        (["--token", "short"], "--token needs at least 16 characters; got 5"),
        (["--max-files", "0"], "--max-files needs 1 to 10,000; got 0"),
        (["--max-bytes", "999999999999"], "--max-bytes needs 1 to 256,000,000"),
        (["--max-seconds", "0"], "--max-seconds needs 0.1 to 3,600; got 0"),
        (["--port", "99999"], "--port needs 0 to 65,535; got 99999"),
        (["--host", "203.0.113.7", "--token", TOKEN], "Cannot listen at 203.0.113.7"),
    ],
)
def test_what_the_server_cannot_be_started_with_ends_with_3_in_one_line(finished_run, capsys, words, said):
    assert main.run_command(["serve", str(finished_run), "--no-open", "--quiet", *words]) == 3
    _, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_taken_port_is_named(finished_run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main.run_command(["serve", str(finished_run), "--no-open", "--port", port]) == 3
    assert f"Cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err


def test_every_answer_has_the_headers_that_keep_other_sites_out(client):
    for answer in (client.get("/"), client.get("/nowhere"), client.get("/", headers={"host": "evil"})):
        for name in web.HEADERS:
            assert name in answer.headers
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_folder_that_changes_while_served_is_refused_until_restarted(finished_run, tmp_path):
    for changed in ("provenance.json", "evaluation.json", "models/models.json"):
        folder = tmp_path / changed.replace("/", "_")
        shutil.copytree(finished_run, folder)
        served = client_of(open_run(folder))
        assert served.get("/healthz").status_code == 200
        path = folder / changed
        path.write_bytes(path.read_bytes())
        answer = served.post("/api/predict", files=sent(GOOD))
        assert (answer.status_code, "restart clineval serve" in answer.json()["error"]) == (409, True)
        assert served.get("/healthz").status_code == 409
        assert client_of(open_run(folder)).get("/healthz").status_code == 200
    shutil.rmtree(folder)
    assert served.get("/").status_code == 409


# What is told -----------------------------------------------------------------------------------------


def test_the_model_is_told_with_the_numbers_of_the_evaluation(run, client):
    told = client.get("/api/model").json()
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert told["primary"] == {name: record["primary"][name] for name in ("model", "threshold")}
    assert told["condition"] == record["condition"]
    assert told["provenance_sha256"] == hash_file(run.folder / "provenance.json")
    assert told["notice"].startswith("SYNTHETIC PHANTOM DATA")
    assert told["limits"]["files"] == 200
    for model, points in told["models"].items():
        scored = {each["name"]: each for each in record["models"][model]["test"]["operating_points"]}
        for point in points:
            assert point["threshold"] == scored[point["name"]]["threshold"]
            assert point["true_positives"] == scored[point["name"]]["true_positives"]
            assert point["ppv"] == [scored[point["name"]]["ppv"][each] for each in ("low", "high")]
    assert (told["cases"], told["events"]) == (90, record["models"][model]["test"]["events"])


@pytest.fixture(scope="module")
def trained():
    """The phantom images that the finished run learnt from."""
    drawn = phantom(seed=1, cases=(150, 60, 90), reason="a test asked for it")
    return drawn.select(drawn.within("train"))


def examined(client, files, **query):
    answer = client.post("/api/examine", files=sent(files), params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(look):
    return [each["code"] for each in look["warnings"]]


def test_warnings_name_what_must_be_known_before_the_risk(client, trained):
    dark = np.minimum(NOISE // 9, 28)
    found = examined(
        client,
        {
            "train.png": png(trained.images[3]),
            "mirrored.png": png(trained.images[3][:, ::-1]),
            "noise.png": png(NOISE),
            "dark.png": png(dark),
            "colour.png": GOOD["colour.png"],
        },
    )
    train, mirrored, noise, dark, colour = found["images"]
    assert codes(train) == ["seen_in_training"]
    assert trained.case[3] in train["warnings"][0]["text"]
    assert "seen in training (the same picture as" in mirrored["warnings"][0]["text"]
    assert codes(noise)[0] == "unlike_training"
    assert re.search(r"distance [\d.]+, limit [\d.]+", noise["warnings"][0]["text"])
    assert "nearly_black" in codes(dark)
    assert "coloured" in codes(colour)


def test_text_in_the_picture_is_warned_of_by_its_look_and_by_the_files_word(client):
    from test_dicom import dicom

    flat = np.tile(np.linspace(10, 200, 256).astype(np.uint8), (256, 1)).T
    written = flat.copy()
    for place in range(20, 230, 8):
        written[100:112, place : place + 2] = 250
    said = dicom(flat, BurnedInAnnotation="YES")
    found = examined(client, {"flat.png": png(flat), "text.png": png(written), "said.dcm": said})
    assert ["burnt_in" in codes(look) for look in found["images"]] == [False, True, True]


def test_the_nearest_training_images_come_with_their_labels(run, client, trained):
    (look,) = examined(client, {"train.png": png(trained.images[7])}, pictures=True)["images"]
    outcome = dict(zip(trained.case.tolist(), trained.outcome.tolist(), strict=True))
    first = look["nearest"][0]
    assert (first["case"], first["similarity"]) == (trained.case[7], 1.0)
    assert len(look["nearest"]) == 4
    assert [each["outcome"] for each in look["nearest"]] == [
        outcome[each["case"]] for each in look["nearest"]
    ]
    assert all(each["picture"] == "" for each in look["nearest"]), "phantoms of another seed are not shown"
    assert run.outcomes == outcome


def shown(data):
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_square_is_the_prepared_one_and_the_picture_the_whole_one(client):
    (look,) = examined(client, {"a.png": GOOD["upright.png"]}, pictures=True)["images"]
    assert np.array_equal(shown(look["picture"]), NOISE)
    assert (look["width"], look["height"], look["box"], look["second"]) == (44, 60, [0, 8, 44, 52], True)
    middle = Image.fromarray(NOISE).crop((0, 8, 44, 52)).resize((28, 28), Image.Resampling.BILINEAR)
    assert np.array_equal(shown(look["square"]), np.asarray(middle))


def test_files_that_cannot_be_used_leave_the_others_in_their_place(client):
    files = {"zero.png": b"", **GOOD, "text.png": b"text"}
    found = examined(client, files, skip_unreadable=True)
    assert [look["place"] for look in found["images"]] == [1, 2, 3, 4, 5]
    assert [each["image"] for each in found["predictions"]["unreadable"]] == ["zero.png", "text.png"]


def test_pictures_of_the_training_images_are_shown_only_where_they_are_the_very_ones(
    finished_run, tmp_path, monkeypatch
):
    drawn = phantom(seed=1, cases=(150, 60, 90), reason="a test asked for it")
    monkeypatch.setattr("clineval.data.medmnist.load_cohort", lambda *_, **__: drawn)
    there = open_run(finished_run)
    assert {case: outcome for case, (_, outcome) in there.training_images.items()} == there.outcomes
    drawn.images[0, 0, 0] ^= 1
    assert len(open_run(finished_run).training_images) == 149


def test_a_run_without_a_primary_model_is_served_by_the_one_that_takes_its_place_and_says_so(run):
    from dataclasses import replace

    from clineval.pipeline.stored_run import FrozenThreshold

    without = replace(run.run, primary=None)
    told = describe_run(replace(run, run=without))
    name, threshold = without.main
    assert told["primary"] == {"model": name, "threshold": threshold}
    assert name == without.names[-1]
    assert (
        f"No primary model is stored here; {name} takes its place, flagged at {threshold:.3f}"
        in told["notice"]
    )
    assert "takes its place" not in describe_run(run)["notice"]
    fixed = (FrozenThreshold("half", 0.5, "fixed"),)
    chosen = (*fixed, FrozenThreshold("sensitivity_90", 0.2, "val"))
    first, *others = run.run.names
    mixed = replace(without, thresholds={first: chosen, **dict.fromkeys(others, fixed)})
    assert mixed.main == (first, 0.2)
    bare = replace(run, run=replace(run.run, primary=None, thresholds=dict.fromkeys(run.run.thresholds, ())))
    with pytest.raises(InputError, match="has a frozen threshold"):
        describe_run(bare)


def test_a_held_file_is_read_as_one_on_the_disk(tmp_path):
    for name, content in GOOD.items():
        (tmp_path / name).write_bytes(content)
        held, kept = read_image(HeldFile(name, content)), read_image(tmp_path / name)
        assert held.sha256 == kept.sha256
        assert held.grey.tobytes() == kept.grey.tobytes()


def test_an_upload_is_decoded_once(run, monkeypatch):
    from clineval.data import image_files

    decoded, decode = [], image_files.read_image
    monkeypatch.setattr(
        image_files, "read_image", lambda path, **words: decoded.append(path.name) or decode(path, **words)
    )
    files = [HeldFile(name, content) for name, content in {**GOOD, "text.png": b"text"}.items()]
    examine(run, files, Preparing(skip_unreadable=True), pictures=True)
    assert sorted(decoded) == sorted(file.name for file in files)


def test_no_image_is_no_error_of_the_nearest(run):
    assert examine(run, [HeldFile("a.png", GOOD["upright.png"])], Preparing())["images"][0]["nearest"] == []


def test_the_map_of_an_image_is_that_of_explain(run, client):
    from clineval.pipeline.explain import explainer

    answer = client.post("/api/explain", files=sent({"square.png": png(NOISE[:40, :40])}))
    assert answer.status_code == 200
    found = answer.json()
    square = shown(found.pop("square"))
    told = client.post("/api/predict", files=sent({"square.png": png(NOISE[:40, :40])})).json()["images"][0]
    assert found.pop("warnings") == told["warnings"] != []
    assert found.pop("predicted") == told["risk"][found["model"]]
    expected = explainer(run.run).explain(square, image="square.png").to_json()
    assert found == {name: value for name, value in expected.items() if name in found}
    other = client.post("/api/explain?model=logreg&matching=false", files=sent({"a.png": png(square)})).json()
    assert other["model"] == "logreg"
    expected = explainer(run.run, "logreg", matching=False).explain(square, image="a.png")
    assert other["map"] == expected.to_json()["map"]


def test_a_map_is_made_of_one_image_by_a_model_that_is_there(client):
    for query, files, status, words in (
        (
            "",
            {"text.png": b"text"},
            422,
            "1 of 1 images cannot be used: text.png: it cannot be read as an image",
        ),
        ("?model=nobody", {"a.png": GOOD["upright.png"]}, 422, "--model needs one of logreg"),
        ("", GOOD, 400, "Expected one image; got 5. Send one at a time."),
    ):
        answer = client.post(f"/api/explain{query}", files=sent(files))
        assert answer.status_code == status
        assert answer.json()["error"].startswith(words)


# The interface ----------------------------------------------------------------------------------------


def test_the_pages_load_nothing_from_elsewhere(client):
    for address in ("/", "/api", "/style.css", "/page.js"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert not re.search(r"(?:src|href|url)\W{1,3}(?:https?:)?//", answer.text), address
    api = client.get("/api").text
    assert "POST /api/predict" in api
    assert "<td>model</td><td>string</td><td>that of the run</td>" in api
    assert "<td>matching</td><td>boolean</td><td>true</td>" in api
    assert "Research only" in client.get("/").text
    assert "Research only" in client.get("/api").text


def test_the_report_of_the_run_is_shown_as_it_was_written(finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    policy = "default-src &#39;none&#39;"
    page = f'<meta http-equiv="Content-Security-Policy" content="{policy}"><p>The report</p>'
    (folder / "report.html").write_text(page)
    assert client_of(open_run(folder)).get("/report").status_code == 404, "it is none that the run wrote"
    record = json.loads((folder / "provenance.json").read_text())
    record["artefacts"]["report.html"] = hash_file(folder / "report.html")
    (folder / "provenance.json").write_text(json.dumps(record))
    answer = client_of(open_run(folder)).get("/report")
    assert answer.text == page
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WATCHED: list[str] | None = None


def _hook(event, words):
    if WATCHED is not None and (
        (event == "open" and len(words) == 3 and isinstance(words[2], int) and words[2] & WRITING)
        or event in ("os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp")
    ):
        WATCHED.append(f"{event} {words[0]}")


sys.addaudithook(_hook)


def test_an_upload_of_any_size_touches_no_disk(client, monkeypatch):
    large = png(CHANCE.integers(0, 256, (1800, 1800), np.uint8))
    assert len(large) > 3_000_000
    client.post("/api/examine?pictures=true", files=sent(GOOD))
    monkeypatch.setattr(sys.modules[__name__], "WATCHED", [])
    answer = client.post("/api/examine?pictures=true", files=sent({"large.png": large, **GOOD}))
    assert answer.status_code == 200
    assert WATCHED == []


# A server of its own ----------------------------------------------------------------------------------


@contextmanager
def serving(folder, *words):
    """The address of a server, and its process; stopped in the end."""
    line = [sys.executable, "-m", "clineval", "serve", str(folder), "--port", "0", "--no-open", *words]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+)/)", said)
        assert found, (said, process.poll())
        yield found[1], int(found[2]), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def server(finished_run):
    with serving(finished_run, "--max-seconds", "1.5") as (address, port, _process):
        yield address, port


def answered(port, *parts, wait=0.0):
    """What comes back on a bare connection, until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as there:
        for part in parts:
            there.sendall(part)
            time.sleep(wait)
        found = b""
        while chunk := there.recv(65536):
            found += chunk
    return found


@pytest.mark.slow
def test_a_server_answers_and_lives_through_slow_and_broken_clients(server):
    address, port = server
    head = (
        b"POST /api/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5000\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n"
    )
    slow = answered(port, head, PART)
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert slow.endswith(b'{"error":"The upload took longer than 1.5 s."}')
    assert answered(port, b"GET / HT") == b"", "half a head is waited for only so long"
    with socket.create_connection(("127.0.0.1", port)) as broken:
        broken.sendall(head + PART)
    for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
        head, _, body = answered(port, nonsense).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/json" in head
        assert json.loads(body) == {"error": "The request is not HTTP/1.1; see /api."}
    assert httpx.get(f"{address}healthz").json() == {"status": "ok"}
    assert httpx.post(f"{address}api/predict", files=sent(GOOD)).status_code == 200


@pytest.mark.slow
def test_what_is_too_large_is_refused_in_a_line_that_arrives(finished_run):
    with serving(finished_run) as (address, _port, _process):
        for size, words in (
            (60_000_000, "large.png: it has more than 50,000,000 bytes."),
            (257_000_000, "More than 256,000,000 bytes at once; send fewer or smaller files."),
        ):
            files = sent({"large.png": bytes(size)})
            answer = httpx.post(f"{address}api/predict", files=files, timeout=120)
            assert (answer.status_code, answer.json()["error"]) == (413, words)
        assert httpx.get(f"{address}healthz").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_with_ctrl_c_and_has_told_nothing_of_its_images(finished_run, number):
    with serving(finished_run) as (address, _port, process):
        for name in ("a-name.png", "zero-name.png"):
            content = GOOD["upright.png"] if name[0] == "a" else b""
            httpx.post(f"{address}api/examine", files=sent({name: content}))
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (0, "Stopped.\n")
        assert [line for line in err.splitlines() if "SYNTHETIC" not in line] == []


EXAMPLES = int(os.environ.get("CLINEVAL_EXAMPLES", "25"))


@pytest.fixture(scope="module")
def schema_of_the_api(run):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    return schemathesis.openapi.from_asgi(
        "/openapi.json", application(run, limits=Limits(), host="testserver")
    )


@pytest.mark.slow
def test_no_request_that_the_schema_allows_or_forbids_ends_in_a_fault(schema_of_the_api):
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import checks

    wanted = (
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    )
    operations = [each.ok() for each in schema_of_the_api.get_all_operations()]
    posted = {"/api/predict", "/api/examine", "/api/explain"}
    assert {each.path for each in operations} == {*posted, "/api/model", "/healthz"}
    calm = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    for operation in operations:

        @calm
        @given(case=operation.as_strategy())
        def holds(case):
            case.call_and_validate(checks=wanted)

        holds()


@pytest.mark.parametrize("origin", ["http://[::1", "http://[x]/", "http://evil.example"])
def test_an_origin_that_is_no_address_is_that_of_another_site(client, origin):
    assert client.post("/api/predict", headers={"Origin": origin}, files=sent(GOOD)).status_code == 403


def test_a_boundary_longer_than_the_standard_allows_is_refused(client):
    kind = "multipart/form-data; boundary=" + 3000 * "B"
    answer = client.post("/api/predict", headers={"Content-Type": kind}, content=b"x")
    assert answer.status_code == 400
    assert "boundary" in answer.json()["error"]


@pytest.mark.parametrize("query", ["fitt=crop", "second-view=false", "threshold=0.9", "model=cnn"])
def test_an_option_that_there_is_not_is_refused(client, query):
    answer = client.post(f"/api/predict?{query}", files=sent(GOOD))
    assert answer.status_code == 422
    assert query.split("=")[0] in answer.json()["error"]


def test_a_token_that_no_header_can_hold_is_refused():
    with pytest.raises(InputError, match="ASCII"):
        check_place("127.0.0.1", 0, "pässwörter-sehr-geheim")
