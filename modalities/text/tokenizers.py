"""The tokenizers of text: those trained here, and pretrained ones."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import Tokenizer, build, weights
from sensorium.errors import MissingFile, RecipeError
from sensorium.modalities.open_clip import LOCAL, configuration, folder
from sensorium.modalities.text.batch import PAD

MASK, START, END, UNKNOWN = 1, 2, 3, 4
"""The special ids, beside `PAD`, of tokenizers that are trained here; the characters' own unknown follows."""
TRAINED = ("bpe", "characters")
"""Tokenizers that are trained here, up to the modality's `vocab`."""
SHORT = {"open_clip": "arch", "transformers": "path"}
"""The option that stands behind the colon of "NAME:VALUE"."""
HUB = "hub:"
"""Prefix of the name of a model on the Hugging Face hub, which is downloaded."""
OF_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")
"""Files of which the folder of a model has one if its tokenizer is there too."""


SPECIAL = {"<pad>": PAD, "<mask>": MASK, "<s>": START, "</s>": END}
"""What transformers calls the special ids of tokenizers that are trained here; no text is encoded to them."""


class BytePairTokenizer(Tokenizer):
    """Byte-level byte-pair encoding, trained on the data (Sennrich et al. 2016; Radford et al. 2019).

    The base vocabulary is the 256 bytes, so every text can be encoded and `decode` inverts `encode` exactly, emoji,
    right-to-left scripts and control characters included.

    Args:
        vocab: largest number of ids, of which 260 are bytes and special tokens.
    """

    start, end, mask, special = (START,), (END,), MASK, (PAD, MASK, START, END)
    _first = END + 1

    def __init__(self, vocab: int = 8192) -> None:
        if vocab < self._first + 256:
            raise RecipeError(
                f"The tokenizer 'bpe' needs a vocab of at least {self._first + 256} (256 bytes and {self._first} "
                f"special ids), not {vocab}."
            )
        self._vocab = vocab
        self._model: Any = None

    @property
    def is_fitted(self) -> bool:  # type: ignore[override]
        """Whether the merges are known."""
        return self._model is not None

    @property
    def size(self) -> int:
        """Return the number of ids: fewer than `vocab` when the data has fewer pairs to merge."""
        return self._first + self._model.get_vocab_size()

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the merges, deterministically."""
        from tokenizers import Tokenizer as Model, decoders, models, pre_tokenizers, trainers

        model = Model(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self._vocab - self._first,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer)
        self._model = model

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [self._first + i for i in self._model.encode(text).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids; incomplete characters become replacement characters."""
        return self._model.decode([i - self._first for i in ids if i >= self._first])

    def as_transformers(self, length: int, lower: bool) -> Any:
        """Return it with its own ids: those of the `tokenizers` library, moved behind the special ones."""
        model = self.state()
        vocab = model["model"]["vocab"]
        model["model"]["vocab"] = {**SPECIAL, **{token: self._first + i for token, i in vocab.items()}}
        return _as_transformers(model, length, lower, bos_token="<s>", eos_token="</s>")

    def state(self) -> dict[str, Any]:
        """Return the trained tokenizer as the JSON of the `tokenizers` library."""
        return json.loads(self._model.to_str())

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a trained tokenizer."""
        from tokenizers import Tokenizer as Model

        self._model = Model.from_str(json.dumps(state))


class CharacterTokenizer(Tokenizer):
    """Character-level tokenizer, for language models on small corpora.

    There are no start and end tokens, as windows of a corpus have none. All characters beyond the `vocab` most frequent
    have the unknown id.

    Args:
        vocab: largest number of ids.
    """

    mask, special, keeps_whitespace = MASK, (PAD, MASK, START, END), True
    _first = UNKNOWN + 1

    def __init__(self, vocab: int = 8192) -> None:
        self._vocab = vocab
        self._characters = ""
        self._ids: dict[str, int] = {}

    @property
    def is_fitted(self) -> bool:  # type: ignore[override]
        """Whether the characters are known."""
        return bool(self._characters)

    @property
    def size(self) -> int:
        """Return the number of ids."""
        return self._first + len(self._characters)

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the characters, the most frequent ones when there are too many."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        frequent = sorted(counts, key=lambda c: (-counts[c], c))[: max(self._vocab - self._first, 1)]
        self.load_state({"characters": "".join(sorted(frequent))})

    def encode(self, text: str) -> list[int]:
        """Return one id for each character."""
        return [self._ids.get(character, UNKNOWN) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Return one character for each id; the unknown id becomes a replacement character."""
        known = self._characters
        return "".join(
            known[i - self._first] if i >= self._first else "\N{REPLACEMENT CHARACTER}" for i in ids if i >= UNKNOWN
        )

    def as_transformers(self, length: int, lower: bool) -> Any:
        """Return it as words of one character each."""
        from tokenizers import Regex, Tokenizer as Model, decoders, models, pre_tokenizers

        vocab = {**SPECIAL, "<unk>": UNKNOWN, **self._ids}
        model = Model(models.WordLevel(vocab, unk_token="<unk>"))
        model.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        model.decoder = decoders.Fuse()
        return _as_transformers(json.loads(model.to_str()), length, lower, unk_token="<unk>")

    def state(self) -> dict[str, Any]:
        """Return the characters, in the order of their ids."""
        return {"characters": self._characters}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the characters."""
        self._characters = state["characters"]
        self._ids = {character: self._first + i for i, character in enumerate(self._characters)}


class OpenClipTokenizer(Tokenizer):
    """The tokenizer of an open_clip architecture.

    It is the one that open_clip ships, lower-cased, cleaned byte pairs, 49,408 ids (Radford et al. 2021), or, for an
    architecture that was trained with another one (SigLIP), that of the architecture's folder.

    Args:
        arch: an open_clip architecture, or the name of its file in open_clip's own format; or local-dir:PATH or
            hub:NAME, a folder with its configuration and, where it has another one, its tokenizer.
    """

    def __init__(self, arch: str = "ViT-B-32") -> None:
        import open_clip

        home, text = folder(arch), configuration(arch)["text_cfg"]
        name = text.get("hf_tokenizer_name")
        if name is not None and home is None:
            raise RecipeError(
                f"The tokenizer of '{arch}' is that of '{name}' on the hub: write open_clip:local-dir:PATH for a copy "
                f"of that folder, or open_clip:hub:{name} to have it downloaded."
            )
        self._of_folder = None if name is None else _FolderTokenizer(str(home), text.get("tokenizer_kwargs") or {})
        if self._of_folder is not None:
            self.start, self.end, self.special = self._of_folder.start, self._of_folder.end, self._of_folder.special
            self.mask, self.padding = self._of_folder.mask, self._of_folder.padding
            return
        self._model = open_clip.get_tokenizer(arch if home is None else f"{LOCAL}{home}")
        self.start, self.end = (self._model.sot_token_id,), (self._model.eot_token_id,)
        self.special = tuple(self._model.all_special_ids)

    @property
    def size(self) -> int:
        """Return the number of ids."""
        return self._model.vocab_size if self._of_folder is None else self._of_folder.size

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens spelled out in it are dropped."""
        if self._of_folder is not None:
            return self._of_folder.encode(text)
        return [i for i in self._model.encode(text) if i not in self.special]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, in lower case and with single spaces."""
        if self._of_folder is not None:
            return self._of_folder.decode(ids)
        return self._model.decode([i for i in ids if i not in self.special]).rstrip()


class TransformersTokenizer(Tokenizer):
    """The tokenizer of a Hugging Face model, from a local folder or the local cache; only hub:NAME is downloaded.

    Args:
        path: the folder, the name of a model in the cache, or hub:NAME.
    """

    def __init__(self, path: str) -> None:
        from transformers import AutoTokenizer

        where = weights.folder_of(path) if path.startswith(HUB) else path
        try:
            self._model = AutoTokenizer.from_pretrained(where, local_files_only=True)
        except (OSError, ValueError) as error:
            kind = RecipeError if Path(where).exists() else MissingFile
            raise kind(
                f"No tokenizer can be read from '{path}': give a local folder with its files, or a name that is in "
                "the Hugging Face cache of this machine; nothing is downloaded during a run."
            ) from error
        self.start, self.end = self._ends()
        self.mask = self._model.mask_token_id
        self.padding = self._model.pad_token_id or 0
        roles = (getattr(self._model, f"{role}_token_id") for role in ("pad", "bos", "cls", "eos", "sep", "mask"))
        self.special = tuple(sorted({i for i in roles if i is not None} | {*self.start, *self.end}))

    @classmethod
    def of_folder(cls, folder: Path) -> TransformersTokenizer | None:
        """Return the tokenizer in the folder of a model; None where it has no files of one."""
        return cls(str(folder)) if any((folder / name).exists() for name in OF_TOKENIZERS) else None

    def difference(self, other: Tokenizer) -> str | None:
        """Return how another tokenizer differs in ids, as a clause; None where both give a text the same."""
        if not isinstance(other, TransformersTokenizer):
            return f"it is {type(other).__name__}"
        mine, theirs = self._model.get_vocab(), other._model.get_vocab()
        differing = sum(theirs.get(token) != i for token, i in mine.items())
        if differing or len(mine) != len(theirs):
            return f"{max(differing, abs(len(mine) - len(theirs))):,} of its {len(mine):,} ids differ"
        for role in ("start", "end", "mask"):
            if getattr(self, role) != getattr(other, role):
                return f"its {role} is {getattr(self, role)}, that of the modality's {getattr(other, role)}"
        return None

    def _ends(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that the tokenizer itself puts before and after a text."""
        bare = self._model("a", add_special_tokens=False)["input_ids"]
        whole = self._model("a")["input_ids"]
        first = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return tuple(whole[:first]), tuple(whole[first + len(bare) :])

    def as_transformers(self, length: int, lower: bool) -> Any:
        """Return itself, which cuts texts at `length`; None where texts are lowered first, which it cannot."""
        if lower:
            return None
        model = copy.deepcopy(self._model)
        model.model_max_length = length
        return model

    @property
    def size(self) -> int:
        """Return the number of ids, added tokens included."""
        return len(self._model)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens spelled out in it are dropped."""
        ids = self._model(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [i for i in ids if i not in self.special]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids."""
        return str(self._model.decode([i for i in ids if i not in self.special]))


class _FolderTokenizer(TransformersTokenizer):
    """A tokenizer of transformers as open_clip uses it: on cleaned text, and without separators where it says so.

    Args:
        path: the folder.
        options: "clean" and "strip_sep_token" of open_clip's configuration.
    """

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        from open_clip.tokenizer import get_clean_fn

        super().__init__(path)
        self._clean = get_clean_fn(options.get("clean", "whitespace"))
        if options.get("strip_sep_token"):
            self.end = tuple(0 if i == self._model.sep_token_id else i for i in self.end)
            self.special = tuple(sorted({0, *self.special}))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, cleaned first."""
        return super().encode(self._clean(text))


def _as_transformers(model: dict[str, Any], length: int, lower: bool, **roles: str) -> Any:
    """Return a tokenizer of transformers.

    Args:
        model: of the `tokenizers` library, as JSON, whose vocabulary has the special tokens.
        length: the largest number of tokens of a text.
        lower: whether texts are converted to lower case first.
        roles: "bos_token", "eos_token" and "unk_token" -> the token, where it has one; the first two stand at the ends.
    """
    from tokenizers import Tokenizer as Model, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Model.from_str(json.dumps(model))
    if lower:
        made.normalizer = normalizers.Lowercase()
    if "bos_token" in roles:
        ends = [(token, SPECIAL[token]) for token in ("<s>", "</s>")]
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=length,
        split_special_tokens=True,  # what spells a special token is text
        **roles,
    )


def make_tokenizer(given: str | Mapping[str, Any], vocab: int) -> Tokenizer:
    """Return the tokenizer that a recipe names.

    Args:
        given: the name of a registered tokenizer, "open_clip:ARCH", "transformers:PATH", or a mapping of `name` and
            options.
        vocab: the largest vocabulary of a tokenizer that is trained here, unless its options say another.

    Raises:
        RecipeError: when an option is wrong, or what follows the colon cannot be found.
        PluginError: when there is no tokenizer of that name.
    """
    if isinstance(given, str):
        name, colon, value = given.partition(":")
        if colon and (name not in SHORT or not value):
            raise RecipeError(
                f"The tokenizer '{given}' cannot be read: with a colon there are open_clip:ARCH and transformers:PATH; "
                "options of others stand in a mapping, {name: NAME, ...}."
            )
        options: dict[str, Any] = {SHORT[name]: value} if colon else {}
    else:
        options = dict(given)
        name = str(options.pop("name", ""))
    if name in TRAINED:
        options = {"vocab": vocab} | options
    made: Tokenizer = build("tokenizer", name, **options)
    return made
