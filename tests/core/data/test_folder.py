import os

import pytest

from sensorium.data.folder import FolderSource
from sensorium.errors import BadSample, DataError


@pytest.fixture
def tree(tmp_path):
    """Write files: relative path -> text; return their folder."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path)

    return write


def test_class_folders(tree):
    source = FolderSource(
        tree({"dog/b.jpg": "", "cat/a.jpg": "", "cat/deep/c.jpg": "", ".git/x.jpg": "", "cat/.x": ""})
    )
    assert [r.id for r in source] == ["cat/a.jpg", "cat/deep/c.jpg", "dog/b.jpg"]
    assert [r.labels for r in source] == [{"class": "cat"}, {"class": "cat"}, {"class": "dog"}]
    assert source.fields == ("image",)
    assert source[0].values == {"image": "cat/a.jpg"}
    assert os.path.exists(os.path.join(source.root, source[0].values["image"]))
    assert {r.split for r in source} == {None}


def test_split_folders(tree):
    source = FolderSource(tree({"train/cat/a.jpg": "", "valid/cat/b.jpg": "", "test/c.jpg": ""}))
    assert [(r.id, r.split, r.labels) for r in source] == [
        ("test/c.jpg", "test", {}),
        ("train/cat/a.jpg", "train", {"class": "cat"}),
        ("valid/cat/b.jpg", "val", {"class": "cat"}),
    ]


def test_a_class_named_as_a_split_stays_a_class(tree):
    source = FolderSource(tree({"train/a.jpg": "", "bus/b.jpg": ""}))
    assert [(r.split, r.labels["class"]) for r in source] == [(None, "bus"), (None, "train")]


def test_captions_beside_files(tree):
    source = FolderSource(
        tree({"x.jpg": "", "x.txt": "a dog\n\n  two dogs \n", "y.jpg": "", "y.txt": "\ufeffa cat", "z.jpg": ""}),
        field="picture",
        captions="words",
    )
    assert source.fields == ("picture", "words")
    assert [(r.id, r.group, r.values.get("words")) for r in source] == [
        ("x.jpg", "x.jpg", "a dog"),
        ("x.jpg#2", "x.jpg", "two dogs"),
        ("y.jpg", "y.jpg", "a cat"),
        ("z.jpg", "z.jpg", None),
    ]


def test_captions_can_be_ignored(tree):
    source = FolderSource(tree({"x.jpg": "", "x.txt": "a\nb"}), captions=None)
    assert [r.values for r in source] == [{"image": "x.jpg"}]


def test_a_caption_file_that_cannot_be_read_leaves_the_file_beside_it(tree):
    source = FolderSource(tree({"x.jpg": "", "x.txt": " \n", "y.jpg": "", "y.txt": b"\xff\xfe\xff"}))
    assert [record.values["image"] for record in source] == ["x.jpg", "y.jpg"]
    empty, wrong = (record.values["text"] for record in source)
    assert (empty.kind, empty.reason, empty.where) == ("empty", "caption is empty", f"{source.root}/x.txt")
    assert wrong.kind == "encoding"
    assert wrong.reason.startswith("'y.txt' cannot be read: 'utf-8' codec")


def test_text_files_are_records_when_asked_for(tree):
    source = FolderSource(tree({"pos/a.txt": "gôod", "pos/a.jpg": "", "neg/b.TXT": b"\xff"}), "text", None, ["txt"])
    assert source[1].values == {"text": "gôod"}
    assert source[1].labels == {"class": "pos"}
    with pytest.raises(BadSample, match="cannot be read as text"):
        source[0]


def test_unicode_names(tree):
    source = FolderSource(tree({"猫/小 猫.jpg": "", "猫/小 猫.txt": "une chatte"}))
    assert source[0].id == "猫/小 猫.jpg"
    assert source[0].values == {"image": "猫/小 猫.jpg", "text": "une chatte"}


def test_a_file_name_outside_unicode_has_an_id(tree, tmp_path):
    tree({"a.jpg": ""})
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):
        pass
    source = FolderSource(str(tmp_path))
    assert [r.id.encode() for r in source] == [b"a.jpg", rb"\udcff.jpg"]
    assert os.path.exists(os.path.join(source.root, source[1].values["image"]))


def test_invalid_folders_are_refused(tree, tmp_path):
    with pytest.raises(DataError, match=r"nowhere' does not exist; check data\.source\.path"):
        FolderSource(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="contains no readable records: there is no visible file but"):
        FolderSource(tree({"notes.txt": "a", ".hidden.jpg": ""}))
    with pytest.raises(DataError, match=r"is a file, not a folder"):
        FolderSource(str(tmp_path / "notes.txt"))
    with pytest.raises(DataError, match=r"no visible file that ends in \.jpg, \.png"):
        FolderSource(tree({"a.gif": ""}), extensions=["png", ".JPG"])
    with pytest.raises(DataError, match="both go to the field 'text'"):
        FolderSource(str(tmp_path), field="text")


def test_a_pattern_extracts_labels_from_file_names(tree):
    files = {"7_theo_12.wav": "", "x/0_george_0.wav": "", "notes.wav": ""}
    source = FolderSource(tree(files), "audio", pattern="{digit}_{speaker}_{take}", group="speaker")
    assert [(r.labels, r.group) for r in source] == [
        ({"digit": "7", "speaker": "theo", "take": "12"}, "theo"),
        ({}, "notes.wav"),
        ({"class": "x", "digit": "0", "speaker": "george", "take": "0"}, "george"),
    ]


def test_invalid_patterns_are_refused(tree):
    folder = tree({"7.theo.wav": ""})
    for pattern in ("digits", "{a}_{a}", "{7}"):
        with pytest.raises(DataError, match="names no label, or one twice"):
            FolderSource(folder, pattern=pattern)
    with pytest.raises(DataError, match=r"matches the pattern '\{digit\}_\{speaker\}'; the first is '7\.theo'"):
        FolderSource(folder, pattern="{digit}_{speaker}")
    with pytest.raises(
        DataError, match="The group 'singer' is no label of the folder; its labels are: class, digit, s"
    ):
        FolderSource(folder, pattern="{digit}.{speaker}", group="singer")


DIGITS = {"digit": ["zero", "one", "two"]}


def test_a_template_makes_captions_of_labels(tree):
    files = {"2_theo.wav": "", "0_lucas.wav": "", "0_lucas.txt": "nought", "music.wav": ""}
    source = FolderSource(
        tree(files), "audio", pattern="{digit}_{speaker}", classes=DIGITS, template="{speaker} says {digit}"
    )
    assert source.fields == ("audio", "text")
    assert {r.id: r.values.get("text") for r in source} == {
        "0_lucas.wav": "nought",
        "2_theo.wav": "theo says two",
        "music.wav": None,
    }
    assert [r.labels.get("digit") for r in source] == ["zero", "two", None]


def test_a_template_of_class_folders(tree):
    source = FolderSource(tree({"cat/a.jpg": "", "b.jpg": ""}), template="a photo of a {class}")
    assert [r.values.get("text") for r in source] == [None, "a photo of a cat"]


def test_invalid_templates_and_classes_are_refused(tree):
    folder = tree({"2_theo.wav": "", "3_theo.wav": "", "x_theo.wav": ""})
    for options in ({"template": "a thing"}, {"template": "{class}", "captions": None}):
        with pytest.raises(DataError, match=r"needs a field, data\.source\.captions, and a label in braces"):
            FolderSource(folder, **options)
    with pytest.raises(DataError, match="The template 'digit' is no label of the folder; its labels are: class"):
        FolderSource(folder, template="{digit}")
    with pytest.raises(DataError, match="The classes 'digit' is no label"):
        FolderSource(folder, classes=DIGITS)
    source = FolderSource(folder, pattern="{digit}_{speaker}", classes=DIGITS)
    assert source.key(0).labels["digit"] == "two"
    for position, value in ((1, "3"), (2, "x")):
        with pytest.raises(DataError, match=f"has the value '{value}', but .* names 3 classes, 0 to 2"):
            source.key(position)
