import json
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

import sensorium
from sensorium import Tokenizer
from sensorium.errors import RecipeError, SensoriumError
from sensorium.modalities.text.modality import TextModality
from sensorium.modalities.text.tokenizers import UNKNOWN, BytePairTokenizer, CharacterTokenizer, make_tokenizer

STRANGE = [
    "👩‍👩‍👧‍👦 family 🎉🏳️‍🌈",
    "مرحبا بالعالم",
    "שלום עולם",
    "tab\tnewline\nreturn\r null\x00 bell\x07 escape\x1b[0m",
    "  two  spaces  ",
    "日本語とタイ ภาษาไทย",
    "<pad> <mask> <|endoftext|> [MASK] </s>",
    "e\u0301 and \u00e9",
]


@pytest.fixture(scope="module")
def pairs(sentences):
    made = BytePairTokenizer(320)
    made.fit(sentences)
    return made


@pytest.mark.parametrize("text", STRANGE)
def test_byte_pairs_lose_nothing(pairs, text):
    ids = pairs.encode(text)
    assert pairs.decode(ids) == text
    assert not set(ids) & set(pairs.special)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_pairs_lose_nothing_of_any_text(pairs, text):
    ids = pairs.encode(text)
    assert pairs.decode(ids) == text
    assert all(pairs.special[-1] < i < pairs.size for i in ids)


def test_byte_pairs_merge_what_is_frequent(pairs):
    assert pairs.size <= 320
    assert len(pairs.encode("the stone")) < len("the stone")
    assert pairs.decode([pairs.start[0], *pairs.encode("the"), pairs.mask, *pairs.end, 0]) == "the"


def test_training_is_deterministic_in_every_process(pairs, sentences):
    code = (
        "import json, sys\n"
        "from sensorium.modalities.text.tokenizers import BytePairTokenizer\n"
        "made = BytePairTokenizer(320); made.fit(json.load(sys.stdin)); print(json.dumps(made.state(), sort_keys=True))"
    )
    texts = json.dumps(sentences)
    other = subprocess.run([sys.executable, "-c", code], input=texts, capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == pairs.state()


@pytest.mark.parametrize("kind", [BytePairTokenizer, CharacterTokenizer])
def test_state_is_json_and_restores(kind, sentences):
    learned, other = kind(300), kind(300)
    assert not learned.is_fitted
    learned.fit(sentences)
    other.load_state(json.loads(json.dumps(learned.state())))
    assert other.is_fitted
    assert other.size == learned.size
    assert other.encode("the cat é") == learned.encode("the cat é")


def test_characters_have_one_id_each():
    made = CharacterTokenizer(100)
    made.fit(["hello\n", "world"])
    assert made.size == UNKNOWN + 1 + len(set("hello\nworld"))
    ids = made.encode("hello?\n")
    assert len(ids) == 7
    assert ids[5] == UNKNOWN
    assert ids[2] == ids[3]
    assert made.decode(ids) == "hello�\n"


def test_characters_beyond_the_vocabulary_are_the_rare_ones():
    made = CharacterTokenizer(UNKNOWN + 1 + 2)
    made.fit(["aaabbbc"])
    assert [i == UNKNOWN for i in made.encode("abc")] == [False, False, True]


def test_open_clip_is_open_clips_own():
    import open_clip

    made = make_tokenizer("open_clip", 0)
    reference = open_clip.get_tokenizer("ViT-B-32")("A photo of a Cat!")[0]
    ids = [*made.start, *made.encode("A photo of a Cat!"), *made.end]
    assert ids == reference[reference != 0].tolist()
    assert made.decode(ids) == "a photo of a cat !"
    assert made.size == 49408
    assert made.mask is None


@pytest.mark.parametrize("strips", [False, True])
def test_open_clip_takes_the_tokenizer_of_a_folder_as_the_library_does(tmp_path, strips):
    open_clip, transformers = pytest.importorskip("open_clip"), pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt"), pad_token="[MASK]").save_pretrained(tmp_path)
    options = {"clean": "canonicalize", "strip_sep_token": strips}
    text = {"hf_tokenizer_name": "any", "tokenizer_kwargs": options, "context_length": 9}
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    made = make_tokenizer(f"open_clip:local-dir:{tmp_path}", 0)
    ids = [*made.start, *made.encode("The cat, sleeps!"), *made.end]
    whole = open_clip.get_tokenizer(f"local-dir:{tmp_path}")("The cat, sleeps!")[0].tolist()
    assert whole == ids + [made.padding] * (9 - len(ids))
    assert (made.padding, made.mask, made.size) == (4, 4, 9)
    assert made.decode(ids) == "the cat sleeps"


def test_no_text_spells_a_special_token():
    made = make_tokenizer("open_clip:RN50", 0)
    assert not set(made.encode("end <end_of_text> of <start_of_text> text")) & set(made.special)


def test_transformers_by_path(tmp_path, sentences):
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    made = make_tokenizer(f"transformers:{tmp_path}", 0)
    assert (made.start, made.end, made.mask, made.special) == ((2,), (3,), 4, (0, 2, 3, 4))
    assert made.encode("The cat sleeps [MASK] [CLS] xyz") == [5, 6, 7, 8, 1]
    assert made.decode([2, 5, 6, 7, 8, 3]) == "the cat sleeps"
    assert made.size == len(words)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bep", "did you mean 'bpe'"),
        ("bpe:3", "cannot be read"),
        ("transformers:", "cannot be read"),
        ("open_clip:ViT-B-33", "did you mean 'ViT-B"),
        ("open_clip:ViT-B-16-SigLIP", "open_clip:hub:timm/ViT-B-16-SigLIP"),
        ("transformers:/no/such/folder", "nothing is downloaded"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(SensoriumError, match=message):
        make_tokenizer(name, 500)


def test_a_vocabulary_without_room_for_bytes_is_refused():
    with pytest.raises(RecipeError, match="at least 260"):
        BytePairTokenizer(200)


def test_a_mapping_has_the_options_of_a_tokenizer(sentences):
    made = make_tokenizer({"name": "characters", "vocab": UNKNOWN + 1 + 2}, 500)
    made.fit(["aaabbbc"])
    assert made.size == UNKNOWN + 1 + 2
    with pytest.raises(RecipeError, match="'bpe' has no option 'size'"):
        make_tokenizer({"name": "bpe", "size": 300}, 500)


class Words(Tokenizer):
    """Whole words, split at spaces.

    Args:
        most: the largest number of words.
    """

    def __init__(self, most: int = 100) -> None:
        self.most, self.words = most, []

    @property
    def size(self):
        return len(self.words) + 1

    def encode(self, text):
        return [self.words.index(word) + 1 for word in text.split() if word in self.words]

    def decode(self, ids):
        return " ".join(self.words[id - 1] for id in ids)

    @property
    def is_fitted(self):
        return bool(self.words)

    def fit(self, texts):
        self.words = sorted({word for text in texts for word in text.split()})[: self.most]

    def state(self):
        return {"words": self.words}

    def load_state(self, state):
        self.words = list(state["words"])


def test_the_modality_takes_a_registered_tokenizer():
    sensorium.register("tokenizer", "words", Words)
    modality = TextModality({"name": "words", "most": 3})
    modality.fit(["the cat sat", "on the mat"])
    assert modality.decode("the cat on the sat").tolist() == [1, 3]
    again = TextModality("words")
    again.load_state(modality.state())
    assert again.tokenizer.decode([1, 2, 3]) == "cat mat on"
