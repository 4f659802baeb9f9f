"""The page that searches records: who may see it, what it finds, what it refuses."""

from html import escape
from importlib.util import find_spec

import pytest

if any(find_spec(name) is None for name in ("starlette", "uvicorn", "jinja2", "python_multipart", "lancedb")):
    pytest.skip("needs sensorium[browse]", allow_module_level=True)

import sensorium
from sensorium.browsing import guard
from sensorium.errors import BadSample, RunError
from tests.core.browsing.served import (
    COUNT,
    HARMFUL,
    PAIRS,
    SPACED,
    TOKEN,
    Client,
    ids_in,
    known,
    make_collection,
    served,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browse")


@pytest.fixture(scope="module")
def collection(folder):
    return make_collection(folder)


@pytest.fixture(scope="module")
def client(collection):
    with served(collection) as port:
        yield Client(port)


def test_the_token_is_asked_for_and_becomes_a_cookie(client):
    stranger = Client(client.port, cookie="")
    for path in ("/", "/style.css", "/?token=another", "/?text=1"):
        answer, text = stranger.ask(path)
        assert (answer.status, text) == (
            403,
            "Open the address that `sensorium browse` printed: it has the token of this page.\n",
        )
    answer, _ = stranger.ask(f"/?token={TOKEN}")
    assert (answer.status, answer.getheader("location")) == (303, "/")
    cookie = answer.getheader("set-cookie").lower()
    assert cookie.startswith(f"sensorium={TOKEN};")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 400), ("127.0.0.1.evil.example", 400), ("localhost", 200)]
)
def test_other_names_of_this_machine_are_refused(client, host, status):
    assert client.ask("/", Host=host)[0].status == status


def test_no_page_runs_scripts_or_loads_from_elsewhere(client):
    answer, text = client.ask("/")
    assert "default-src 'none'" in answer.getheader("content-security-policy")
    assert "<script" not in text
    assert "http" not in text


def test_without_a_query_records_stand_as_they_are(client):
    assert len(ids_in(client.page())) == 24
    assert len(ids_in(client.page(count="48"))) == COUNT
    assert f"{COUNT} records" in client.page()


def test_words_find_what_a_search_finds(client, folder):
    words = PAIRS[7].values["a"]
    found = sensorium.search(folder / "run", words, by="a", target="b", count=12, **known())
    page = client.page(text=words, by="a", target="b", count="12")
    assert ids_in(page) == [escape(hit.id) for hit in found]
    assert f'<span class="score">{found[0].score:.3f}</span>' in page
    assert "read as a" in page
    assert page.count('<img src="data:image/webp;base64,') >= 12


def test_a_record_shows_its_neighbors_but_not_itself(client):
    page = client.page(id="r7", by="b", target="b", count="96")
    assert len(ids_in(page)) == COUNT - 2  # itself, and the record that lacks b
    assert "r7" not in ids_in(page)
    assert ids_in(client.page(id="r7", count="96")) == ids_in(client.page(id="r7", target="a", count="96"))
    assert "nearest a of" in client.page(id="r7", by="a")
    assert "nearest b of" in client.page(id="r7", by="b")
    assert "has no record &#39;r99&#39;" in client.page(400, id="r99")


def test_labels_and_conditions_filter(client):
    red = client.page(text=PAIRS[7].values["a"], count="96", **{"label.color": "red"})
    assert set(ids_in(red)) == {f"r{row}" for row in range(2, COUNT, 2)}
    few = client.page(where="color = 'blue' AND id IN ('r1', 'r2', 'r3')")
    assert sorted(ids_in(few)) == ["r1", "r3"]
    assert "The filter cannot be read" in client.page(400, where="nothing = 1")


def test_a_label_with_odd_spaces_and_line_breaks_filters(client):
    for sent in (SPACED, SPACED.replace("\n", "\r\n")):  # as browsers send it
        page = client.page(count="96", **{"label.shape": sent})
        assert len(ids_in(page)) == COUNT // 4
        assert f'<option value="{escape(SPACED)}" selected>' in page
    assert "has no value &#39;none&#39;" in client.page(400, **{"label.shape": "none"})


def test_what_a_record_lacks_is_not_shown(collection):
    lacking = collection.index.first(COUNT, "id = 'r3'")[0]
    assert set(collection.show(lacking)) == {"a"}


def test_what_users_wrote_is_text(client):
    page = client.page(text=HARMFUL, status=400)
    assert HARMFUL not in page
    assert escape(HARMFUL, quote=False)[:20] in page
    page = client.page(count="96")
    assert HARMFUL not in page
    assert page.count(escape(HARMFUL)) >= 3  # its id, its label, the choice of labels


def test_a_file_is_searched_for_and_its_page_opened_again(client):
    answer, _ = client.send(
        {"by": "a", "target": "b", "text": "forgotten"}, PAIRS[7].values["a"].encode(), "vector.txt"
    )
    assert answer.status == 303
    first, again = client.ask(answer.getheader("location"))[1], client.ask(answer.getheader("location"))[1]
    assert "<strong>vector.txt</strong>" in first
    assert ids_in(first) == ids_in(again) == ids_in(client.page(text=PAIRS[7].values["a"], by="a", target="b"))
    assert "is kept no more: upload the file" in client.page(400, file="unknown")


def test_a_file_is_read_by_every_modality_that_can(client):
    location = client.send({}, PAIRS[7].values["a"].encode(), "vector.txt")[0].getheader("location")
    by_first = client.ask(location)[1]
    assert "read as a; also as" in by_first
    by_second = client.ask(f"{location}&by=b")[1]
    assert "read as b; also as" in by_second
    assert ids_in(by_second) == ids_in(client.page(text=PAIRS[7].values["a"], by="b"))
    location = client.send({"by": "a"}, PAIRS[7].values["a"].encode(), "vector.txt")[0].getheader("location")
    answer, text = client.ask(location.replace("by=a", "by=b"))
    assert (answer.status, "was read as a: send it again" in text) == (400, True)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"no numbers", "No modality of the run reads"),
        (b"\xff\xfe\x00", "holds no words: it is not text in UTF-8"),
        (b"1" * (2**20 + 1), "is too large to be words"),
    ],
)
def test_unreadable_files_are_answered_by_a_sentence(client, file, sentence):
    answer, text = client.send({"by": "a"}, file, "../../odd<b>.bin")
    assert answer.status == 400
    assert sentence in text
    assert "odd<b>" not in text


def test_a_form_without_a_file_goes_to_the_address_of_its_words(client):
    answer, _ = client.send({"text": "1 2", "id": "r7", "target": "b", "where": ""})
    assert (answer.status, answer.getheader("location")) == (303, "/?text=1+2&target=b")


def test_long_words_are_kept_and_stand_in_the_address_by_a_key(client):
    words = PAIRS[7].values["a"] + " " * 15_000
    answer, _ = client.send({"text": words, "by": "a", "target": "b", "where": "id <> 'r1'"})
    location = answer.getheader("location")
    assert (answer.status, len(location) < 200) == (303, True)
    answer, page = client.ask(location)
    assert answer.status == 200
    asked = {"by": "a", "target": "b", "where": "id <> 'r1'"}
    assert ids_in(page) == ids_in(client.page(text=PAIRS[7].values["a"], **asked))
    assert ids_in(client.page(text=words, **asked)) == ids_in(page)  # whoever writes such an address is answered too
    answer, page = client.send({"text": "no numbers " * 2000})
    assert (answer.status, "No modality of the run reads" in page, len(page) < 20_000) == (400, True, True)


def test_a_filter_that_fits_no_address_is_refused(client):
    answer, page = client.send({"text": "1 2", "where": "1" * 2**18})
    assert (answer.status, "has more than 2,000 characters: shorten it" in page) == (400, True)


def test_a_damaged_upload_is_named_as_its_user_calls_it(client, collection, monkeypatch):
    def decode(raw):
        raise BadSample(f"{raw} is an empty file")

    monkeypatch.setattr(collection.parts["a"], "reads_files", True, raising=False)
    monkeypatch.setattr(collection.parts["a"], "decode", decode)
    answer, page = client.send({"by": "a"}, b"", "mine.png")
    assert (answer.status, "mine.png is an empty file" in page, "sensorium-upload" in page) == (400, True, False)


def test_a_folder_without_an_index_is_refused(folder, tmp_path):
    with pytest.raises(RunError, match="holds no index of records"):
        sensorium.browse(folder / "run", tmp_path, **known())


def test_uploads_are_bounded(client, monkeypatch):
    monkeypatch.setattr(guard, "UPLOAD", 2**20)
    answer, text = client.send({}, b"0" * 2**21)
    assert (answer.status, text) == (
        413,
        "The file is larger than 1 MiB, the most that is taken: upload a smaller one.\n",
    )
