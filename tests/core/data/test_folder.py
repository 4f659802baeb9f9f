import os
from types import SimpleNamespace

import pytest

from sensorium import Several
from sensorium.data.folder import FolderSource, _notes
from sensorium.errors import DataError


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
        ("x.jpg", "x.jpg", Several(["a dog", "two dogs"])),
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
    assert wrong.reason.startswith("'y.txt' cannot be read: character 1 is the byte 0xff")


def test_text_files_are_records_when_asked_for(tree):
    source = FolderSource(tree({"pos/a.txt": "gôod", "pos/a.jpg": "", "neg/b.TXT": b"\xff"}), "text", None, ["txt"])
    assert source[1].values == {"text": "gôod"}
    assert source[1].labels == {"class": "pos"}
    assert "cannot be read as text: character 1 is the byte 0xff" in source[0].values["text"].reason
    source = FolderSource(tree({"neg/b.TXT": b"\xff"}), "text", None, ["txt"], encoding="cp1252")
    assert source[0].values == {"text": "ÿ"}


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
    with pytest.raises(DataError, match="contains no readable records: there is no visible file of data; it holds 1"):
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
    with pytest.raises(DataError, match=r"source.group names 'singer', which is no label .*: class, digit, s"):
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
    with pytest.raises(DataError, match=r"source.template names 'digit', which is no label .* its labels are: class"):
        FolderSource(folder, template="{digit}")
    with pytest.raises(DataError, match=r"source.classes names 'digit', which is no label"):
        FolderSource(folder, classes=DIGITS)
    source = FolderSource(folder, pattern="{digit}_{speaker}", classes=DIGITS)
    assert source.key(0).labels["digit"] == "two"
    for position, value in ((1, "3"), (2, "x")):
        with pytest.raises(DataError, match=f"has the value '{value}', but .* names 3 classes, 0 to 2"):
            source.key(position)


def link(tree_folder, name, target):
    path = os.path.join(tree_folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def ids(source):
    return [source.key(i).id for i in range(len(source))]


def test_links_to_folders_around_or_beside_are_not_followed(tree, tmp_path):
    folder = tree({"data/a/1.png": "", "data/a/deep/2.png": "", "data/b/3.png": "", "other/4.png": ""}) + "/data"
    for name, target in (
        ("a/parent", ".."),
        ("a/deep/self", "."),
        ("b/sibling", "../a"),
        ("a/above", "../.."),
        ("c", "../other"),
        ("d", "../other"),
        ("e", "e"),
    ):
        link(folder, name, target)
    source = FolderSource(folder)
    assert ids(source) == ["e", "a/1.png", "a/deep/2.png", "b/3.png", "c/4.png"]
    assert [r.labels.get("class") for r in source] == [None, "a", "a", "b", "c"]
    assert any("5 links to what is read already are left out; the first is 'a/" in note for note in source.notes())


def test_two_links_to_one_file_are_one_record(tree):
    folder = tree({"store/1.png": "", "pictures/real.png": ""})
    for name, target in (
        ("pictures/a.png", "../store/1.png"),
        ("pictures/b.png", "../store/1.png"),
        ("pictures/copy.png", "real.png"),
        ("pictures/lost.png", "../store/nothing.png"),
    ):
        link(folder, name, target)
    source = FolderSource(folder + "/pictures")
    assert ids(source) == ["a.png", "lost.png", "real.png"]
    assert source.notes() == ["2 links to what is read already are left out; the first is 'b.png'"]
    assert ids(FolderSource(folder)) == ["pictures/lost.png", "pictures/real.png", "store/1.png"]


def test_links_to_one_text_are_captions_of_each(tree):
    folder = tree({"x.jpg": "", "y.jpg": "", ".store/same.txt": "a dog"})
    for name in ("x.txt", "y.txt"):
        link(folder, name, ".store/same.txt")
    assert [r.values["text"] for r in FolderSource(folder)] == ["a dog", "a dog"]


def test_folders_of_hidden_stores_are_followed(tree):
    folder = tree({".store/v2/1.png": ""})
    link(folder, "images", ".store/v2")
    assert ids(FolderSource(folder)) == ["images/1.png"]


def test_what_systems_leave_behind_is_no_record(tree):
    litter = [
        "__MACOSX/a/._1.png",
        ".DS_Store",
        "a/Thumbs.db",
        "a/desktop.ini",
        "@eaDir/1.png",
        "a/._1.png",
        ".git/2.png",
    ]
    source = FolderSource(tree({"a/1.png": "", **dict.fromkeys(litter, "")}))
    assert ids(source) == ["a/1.png"]
    assert source.notes() == []


def test_kinds_of_files_and_what_is_left_out_are_said_once(tree):
    files = {
        "train/1.png": "",
        "train/2.jpg": "",
        "test/3.png": "",
        "test/3.txt": "c",
        "README": "",
        "train/note.txt": "",
    }
    folder = tree(files | {"labels.csv": "", "b.md": "", "c.csv": ""})
    source = FolderSource(folder)
    assert [(r.id, r.split) for r in source] == [
        ("test/3.png", "test"),
        ("train/1.png", "train"),
        ("train/2.jpg", "train"),
    ]
    assert source.notes() == [
        "the records are files of several kinds, 2 .png, 1 .jpg; data.source.extensions names those to read",
        "1 .txt files are captions of no record; the first is 'train/note.txt'",
        "4 files are no records: 2 .csv, 1 without extension, 1 .md; data.source.extensions adds them",
    ]
    assert ids(FolderSource(folder, extensions=["csv"])) == ["c.csv", "labels.csv"]
    with pytest.raises(
        DataError, match=r"no visible file of data; it holds 2 \.csv.*name what to read with data\.source\.ext"
    ):
        FolderSource(tree({"only/a.csv": "", "only/b.csv": ""}) + "/only")


def test_a_folder_that_cannot_be_listed_is_said(tree, monkeypatch):
    folder = tree({"a/1.png": "", "b/2.png": ""})
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert FolderSource(folder).notes() == ["the folder 'b' cannot be read: Permission denied"]


def test_extensions_of_captions_are_read_in_any_case_and_captions_of_no_record_are_said(tmp_path):
    for name in ("UP.JPG", "low.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "UP.TXT").write_text("loud")
    (tmp_path / "low.txt").write_text("soft")
    (tmp_path / "orphan.txt").write_text("alone")
    source = FolderSource(tmp_path)
    assert {source[i].values["image"]: source[i].values["text"] for i in range(2)} == {
        "UP.JPG": "loud",
        "low.jpg": "soft",
    }
    assert source.notes() == ["1 .txt files are captions of no record; the first is 'orphan.txt'"]


def test_notes_pass_over_the_files_a_few_times_however_many_there_are():
    class Counted(list):
        passes = 0

        def __iter__(self):
            type(self).passes += 1
            return super().__iter__()

    files = Counted(f"{number}.jpg" for number in range(50))
    tree = SimpleNamespace(files=[*files, "notes.txt"], not_followed=[], unreadable={})
    Counted.passes = 0
    assert _notes(tree, files, [], set(), False) == ["1 files are no records: 1 .txt; data.source.extensions adds them"]
    assert Counted.passes <= 3


def test_archives_and_compressed_tables_are_no_records(tree):
    files = ("a.jpg", "b.gz", "c.tar.gz", "d.csv.gz", "e.tar.zst", "f.nii.gz", "g.TAR.BZ2", "h.txz")
    source = FolderSource(tree(dict.fromkeys(files, "")))
    assert [record.id for record in source] == ["a.jpg", "f.nii.gz"]
    assert any(note.startswith("6 files are no records") for note in source.notes())
    assert len(FolderSource(source.root, extensions=[".gz"])) == 4
