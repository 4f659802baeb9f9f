"""The data that pages speak of, made small: what shown commands name, as the page describes it."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
import torch
from PIL import Image, ImageDraw

import sensorium

RATE = 8000
SMILES = [
    *("CCO", "CCN", "CCC", "c1ccccc1", "Cc1ccccc1", "CC(=O)O", "CCOC(C)=O", "c1ccncc1", "Oc1ccccc1", "CCCC", "CC(C)O"),
    *("CNC", "C1CCCCC1", "CC#N", "OCCO", "Nc1ccccc1", "O=C(O)c1ccccc1", "CCCl", "CCBr", "c1ccc2ccccc2c1", "CSC"),
    *("CC(C)=O", "CCCCO", "C1CCNCC1"),
]
RINGS = [f"OC1{'C' * size}C1" for size in range(1, 25)]
"""Molecules of a scaffold each."""
SENTENCES = [
    f"The {size} {animal} {verb}."
    for size in ("old", "small", "red", "quick")
    for animal in ("dog", "cat", "fox", "owl")
    for verb in ("sleeps", "runs", "waits")
]
COLORS = {"cat": (200, 80, 60), "dog": (60, 90, 200), "owl": (60, 180, 90)}


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def table(path: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])


def image(number: int, color: tuple[int, int, int], side: int = 48) -> Image.Image:
    picture = Image.new("RGB", (side, side), (250, 250, 245))
    at = 4 + number % 9
    ImageDraw.Draw(picture).ellipse((at, at, at + 24, at + 20 + number % 7), fill=color)
    return picture


def image_folder(folder: Path) -> None:
    """Images in folders of their classes."""
    for kind, color in COLORS.items():
        (folder / kind).mkdir(parents=True)
        for number in range(12):
            image(number, color).save(folder / kind / f"{number:03}.jpg")


def flat_folder(folder: Path) -> None:
    """Images without classes, none like another; the same ones for all who name the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(90):
        drawn, rng = image(number, list(COLORS.values())[number % 3]), np.random.default_rng(number)
        for left, top, *color in rng.integers(0, (36, 36, 255, 255, 255), (8, 5)).tolist():
            ImageDraw.Draw(drawn).rectangle((left, top, left + 10, top + 10), fill=tuple(color))
        drawn.save(folder / f"{number:03}.png")


def microscope_folder(folder: Path) -> None:
    """Images of 12 bits in 16."""
    folder.mkdir()
    for number in range(90):
        gray = np.asarray(image(number, list(COLORS.values())[number % 3]).convert("L"), np.uint16)
        Image.fromarray(gray * 16).save(folder / f"{number:03}.png")


def labeled_folder(folder: Path) -> None:
    """Few images in folders of their classes, three splits."""
    for split in ("train", "val", "test"):
        image_folder(folder / split)


def captioned_folder(folder: Path) -> None:
    """Images with captions beside them."""
    folder.mkdir()
    for number in range(36):
        name, color = list(COLORS.items())[number % 3]
        image(number, color).save(folder / f"{number:03}.jpg")
        (folder / f"{number:03}.txt").write_text(f"a {name} at {number}\n" + "a round spot\n" * (number % 2))


def captions_jsonl(path: Path) -> None:
    """An image and a list of captions on each line."""
    flat_folder(path.parent / "images")
    kinds = list(COLORS)
    lines = [
        {"image": f"images/{i:03}.png", "captions": [f"a {kinds[i % 3]}", f"number {i}"], "animal": kinds[i % 3]}
        for i in range(36)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))


def products_csv(path: Path) -> None:
    """A row for each image and for each description of a product."""
    flat_folder(path.parent / "photos")
    kinds = list(COLORS)
    rows = [(f"p{i % 18}", f"{i:03}.png", "", kinds[i % 3]) for i in range(36)]
    rows += [(f"p{i % 18}", "", f"{kinds[i % 3]} number {i}", "") for i in range(54)]
    table(path, ("product", "photo", "description", "kind"), rows)


def media_csv(path: Path) -> None:
    """A table with all values in one column."""
    flat_folder(path.parent / "photos")
    rows = [(f"p{i % 18}", "image", f"{i:03}.png") for i in range(36)]
    rows += [(f"p{i % 18}", "text", f"{list(COLORS)[i % 3]} number {i}") for i in range(54)]
    table(path, ("product", "medium", "content"), rows)


def pairs_csv(path: Path) -> None:
    """A table of images, captions and colors."""
    flat_folder(path.parent / "images")
    rows = [
        (f"images/{n:03}.png", f"spot number {n}", ("red", "blue", "green")[n % 3], f"item {n // 2}") for n in range(90)
    ]
    table(path, ("image", "caption", "color", "object"), rows)


def photographs_csv(path: Path) -> None:
    """Two photographs of each product, some missing, with a description and a brand."""
    flat_folder(path.parent / "products")
    rows = [
        (f"products/{n:03}.png", f"products/{(n + 3) % 36:03}.png" if n % 6 else "", f"product {n}", f"brand {n % 3}")
        for n in range(36)
    ]
    table(path, ("front_image", "back_image", "description", "brand"), rows)


def attributes_csv(path: Path) -> None:
    """Images with two columns of yes and no, some empty."""
    images = "attributed"
    flat_folder(path.parent / images)
    rows = [(f"{images}/{n:03}.png", n % 2, "" if n % 7 == 0 else int(n % 3 == 0)) for n in range(90)]
    table(path, ("image", "outdoor", "animal"), rows)


def records_csv(path: Path) -> None:
    """Images with texts in two languages, some missing."""
    flat_folder(path.parent / "shots")
    rows = [(f"shots/{n:03}.png", f"spot {n}" if n % 4 else "", f"tache {n}" if n % 3 else "") for n in range(36)]
    table(path, ("image", "text", "text_fr"), rows)


def cifar_parquet(path: Path) -> None:
    """Images as Hugging Face datasets write them, labels as numbers of classes."""
    rows = []
    for number in range(36):
        file = BytesIO()
        image(number, list(COLORS.values())[number % 3], 32).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": number % 3})
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)


def tone(number: int, seconds: float = 1.2) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * (200 + 37 * number) * time) + 0.01 * draw().standard_normal(len(time))).astype(
        "f4"
    )


def clip_folder(folder: Path) -> None:
    """Audio in folders of its classes."""
    for kind in ("rain", "wind"):
        (folder / kind).mkdir(parents=True)
        for number in range(14):
            name = f"{number:03}.mp3" if number == 1 else f"{number:03}.wav"
            soundfile.write(folder / kind / name, tone(number + 20 * (kind == "wind")), RATE)


def clips_csv(path: Path) -> None:
    """A table of audio files with texts, kinds and speakers."""
    (path.parent / "takes").mkdir()
    rows = []
    for number in range(30):
        soundfile.write(path.parent / "takes" / f"{number}.flac", tone(number), RATE)
        rows.append(
            (f"takes/{number}.flac", f"a tone of pitch {number}", ("low", "high")[number % 2], f"s{number % 6}")
        )
    table(path, ("file", "what", "kind", "speaker"), rows)


def recordings(folder: Path) -> None:
    """Spoken digits: DIGIT_SPEAKER_TAKE.wav, the takes of two speakers."""
    folder.mkdir()
    for digit in range(10):
        for speaker in ("anna", "ben", "cora"):
            for take in range(4):
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", tone(digit + take, 0.5), RATE)


def text_file(path: Path) -> None:
    path.write_text("\n".join(SENTENCES) + "\n")


def book(path: Path) -> None:
    path.write_text("\n".join(SENTENCES * 40) + "\n")


def letters(folder: Path) -> None:
    folder.mkdir()
    for number, sentence in enumerate(SENTENCES):
        (folder / f"{number}.txt").write_text(sentence)


def reviews_csv(path: Path) -> None:
    table(path, ("review", "stars"), [(sentence, n % 5 + 1) for n, sentence in enumerate(SENTENCES)])


def freesolv_csv(path: Path) -> None:
    """Molecules with names and energies."""
    rows = [(f"m{n}", s, f"compound {n}", -n / 3) for n, s in enumerate(SMILES)]
    table(path, ("id", "smiles", "iupac", "expt"), rows)


def library_smi(path: Path) -> None:
    path.write_text("".join(f"{smiles} m{n}\n" for n, smiles in enumerate(SMILES * 60)))


def bace_csv(path: Path) -> None:
    rows = [(smiles, n // 2 % 2, 4 + n / 100) for n, smiles in enumerate(SMILES + RINGS)]
    table(path, ("smiles", "Class", "pIC50"), rows)


def esol_csv(path: Path) -> None:
    heading = ("Compound ID", "measured log solubility in mols per litre", "smiles")
    table(path, heading, [(f"m{n}", -n / 5, s) for n, s in enumerate(SMILES + RINGS)])


def mutag_zip(path: Path) -> None:
    """A TU data set: rings and paths."""
    edges, indicator, graphs, nodes = [], [], [], []
    for graph in range(30):
        size, start = 4 + graph % 4, len(indicator)
        ends = [(i, i + 1) for i in range(size - 1)] + [(size - 1, 0)] * (graph % 2)
        edges += [(start + a + 1, start + b + 1) for i, j in ends for a, b in ((i, j), (j, i))]
        indicator += [graph + 1] * size
        nodes += [i % 3 for i in range(size)]
        graphs.append(1 if graph % 2 else -1)
    files = {
        "A": [f"{a}, {b}" for a, b in edges],
        "graph_indicator": indicator,
        "graph_labels": graphs,
        "node_labels": nodes,
        "edge_labels": [0] * len(edges),
    }
    with zipfile.ZipFile(path, "w") as zipped:
        for part, lines in files.items():
            zipped.writestr(f"MUTAG/MUTAG_{part}.txt", "\n".join(map(str, lines)) + "\n")


def graphs_csv(path: Path) -> None:
    """Tables of edges, nodes and graphs."""
    edges, nodes = [], []
    for graph in range(30):
        size = 4 + graph % 4
        nodes += [(graph, i, ("red", "blue")[i % 2], i / 2) for i in range(size)]
        edges += [(graph, i, (i + 1) % size, "single") for i in range(size - 1 + graph % 2)]
    folder = path.parent
    table(folder / "edges.csv", ("graph", "source", "target", "bond"), edges)
    table(folder / "nodes.csv", ("graph", "node", "color", "size"), nodes)
    table(folder / "graphs.csv", ("graph", "kind"), [(g, ("yes", "no")[g % 2]) for g in range(30)])


def people_csv(path: Path) -> None:
    """Tables of the links and the nodes of one large graph."""
    table(path.parent / "links.csv", ("source", "target"), [(i, (i * 7 + k) % 90) for i in range(90) for k in (1, 2)])
    parts = ("train", "train", "val", "test")
    rows = [(i, i / 90, draw().random(), ("a", "b")[i // 45], parts[i % 4]) for i in range(90)]
    table(path, ("node", "age", "size", "class", "part"), rows)


def presses_csv(path: Path) -> None:
    """Recordings of machines, one row every ten seconds, with gaps."""
    rows = []
    for machine in range(4):
        for step in range(600):
            if step % 97:
                stamp = f"2026-03-01 {step // 360:02}:{step // 6 % 60:02}:{step % 6 * 10:02}"
                vibration = "" if step % 31 == 0 else f"{np.sin(step / 5 + machine):.3f}"
                state = ("good", "worn")[(step // 50 + machine) % 2]
                rows.append((f"press-{machine}", stamp, f"{40 + np.cos(step / 40):.2f}", vibration, state))
    table(path, ("machine", "time", "temperature", "vibration", "state"), rows)


def long_csv(path: Path) -> None:
    """The same with a row for each value."""
    rows = []
    for machine in range(3):
        for step in range(600):
            stamp = f"2026-03-01 {step // 360:02}:{step // 6 % 60:02}:{step % 6 * 10:02}"
            rows.append((f"press-{machine}", stamp, "temperature", f"{40 + np.cos(step / 40):.2f}"))
            rows.append((f"press-{machine}", stamp, "vibration", f"{np.sin(step / 5 + machine):.3f}"))
    table(path, ("machine", "time", "sensor", "measurement"), rows)


def load_csv(path: Path) -> None:
    """One recording of two channels, one row every hour."""
    rows = [
        (f"2026-{1 + n // 720:02}-{1 + n // 24 % 30:02} {n % 24:02}:00:00", f"{np.sin(n / 4):.4f}", f"{n % 24}")
        for n in range(1000)
        if not (n // 720 == 1 and n // 24 % 30 > 27)
    ]
    table(path, ("time", "load", "hour"), rows)


def spectra_csv(path: Path) -> None:
    """Near-infrared spectra of samples, two of each, a third of them without a laboratory's value."""
    lengths = np.arange(1100, 1300, 2)
    rng, rows = draw(), []
    for sample in range(24):
        protein = 8 + 6 * rng.random()
        for _ in range(2):
            band = protein / 20 * np.exp(-(((lengths - 1190) / 15) ** 2))
            spectrum = (band + 0.3 + rng.normal(0, 0.05)) * rng.normal(1, 0.05)
            known = "" if sample % 3 == 0 else f"{protein:.2f}"
            rows.append((f"s-{sample}", known, *(f"{value:.5f}" for value in spectrum)))
    table(path, ("sample", "protein", *lengths), rows)


def gestures_ts(path: Path) -> None:
    """Series of two channels and 40 steps in the format of the UEA archive."""
    lines = ["@problemName Gestures", "@timeStamps false", "@univariate false", "@dimensions 2", "@equalLength true",
             "@seriesLength 40", "@classLabel true a b", "@data"]  # fmt: skip
    for number in range(20):
        channels = [",".join(f"{np.sin(t / (3 + number % 2) + c):.3f}" for t in range(40)) for c in range(2)]
        lines.append(":".join([*channels, "ab"[number % 2]]))
    path.write_text("\n".join(lines) + "\n")


def notes_parquet(path: Path) -> None:
    """Series of two channels with texts."""
    rows = [
        {
            "values": [np.sin(np.arange(64) / (3 + n % 5)).tolist()] * 2,
            "note": f"wave {n % 5}, take {n}",
            "machine": n % 6,
        }
        for n in range(36)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)


def bert(folder: Path) -> None:
    """A BERT of a few hundred weights, as transformers writes one."""
    import transformers

    folder.mkdir(parents=True)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        *sorted({w for s in SENTENCES for w in s.lower()[:-1].split()}),
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)) + "\n")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(dict.fromkeys(words)),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.BertModel(config).save_pretrained(folder)


def dinov2_folder(folder: Path) -> None:
    """A DINOv2 of a few thousand weights, as transformers writes one."""
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    normalization = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalization))


def wav2vec2(folder: Path) -> None:
    """A wav2vec 2.0 of a few thousand weights, as transformers writes one."""
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
    )
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)


def dinov2(file: Path) -> None:
    """Random weights of the size and under the names of DINOv2 ViT-S/14."""
    import timm
    import torch

    model = timm.create_model("vit_small_patch14_dinov2.lvd142m", num_classes=0)
    torch.save(model.state_dict() | {"mask_token": torch.zeros(1, 384)}, file)


def vit_tiny(path: Path) -> None:
    """Weights of a small vision transformer of timm, as a file of others has them."""
    import timm

    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), path)


def shop_csv(path: Path) -> None:
    """Images with texts, categories and prices; of a second table half of the records are new."""
    flat_folder(path.parent / "photos")
    first = 0 if path.name == "shop.csv" else 45
    rows = [
        (i, f"photos/{i % 90:03}.png", f"a {('red car', 'cotton shirt')[i % 2]} {i}", ("car", "shirt")[i % 2], i % 40)
        for i in range(first, first + 90)
    ]
    table(path, ("id", "image", "text", "category", "price"), rows)


def pairs_run(folder: Path) -> None:
    """A run of images and texts."""
    place = folder.parent.parent
    if not (place / "shop.csv").exists():
        shop_csv(place / "shop.csv")
    columns = {"image": "image", "text": "text"}
    source = {"name": "table", "path": "shop.csv", "id": "id", "columns": columns, "labels": ["category", "price"]}
    data = {"base": "image-text", "seed": len(folder.name), "data": {"source": source}}
    sensorium.fit(data, ["evaluate.evaluators={knn: {label: category, modality: image}}"], run_dir=folder)


def images_run(folder: Path) -> None:
    """A run of images."""
    flat_folder(folder.parent.parent / "photos")
    data = {"base": "simclr", "data": {"source": {"name": "folder", "path": "photos"}}}
    sensorium.fit(data, ["evaluate.evaluators={}"], run_dir=folder)


def recipe_of(base: str, source: str, make: Callable[[Path], None], path: str) -> Callable[[Path], None]:
    """Return what writes a recipe of a source, and the source's files."""

    def write(file: Path) -> None:
        if not (file.parent / path).exists():
            make(file.parent / path)
        file.write_text(f"base: {base}\ndata: {{source: {{name: {source}, path: {path}}}}}\n")

    return write


MATERIALS: dict[str, Callable[[Path], None]] = {
    "photos": flat_folder,
    "images": image_folder,
    "unlabeled": flat_folder,
    "labeled": labeled_folder,
    "microscope": microscope_folder,
    "captioned": captioned_folder,
    "pairs.csv": pairs_csv,
    "captions.jsonl": captions_jsonl,
    "products.csv": products_csv,
    "media.csv": media_csv,
    "photographs.csv": photographs_csv,
    "records.csv": records_csv,
    "attributes.csv": attributes_csv,
    "cifar10-train.parquet": cifar_parquet,
    "cifar10-test.parquet": cifar_parquet,
    "photo.png": lambda path: image(3, (200, 60, 60)).save(path),
    "drawing.png": lambda path: image(5, (60, 60, 200)).save(path),
    "cat.jpg": lambda path: image(1, COLORS["cat"]).save(path),
    "dog.jpg": lambda path: image(2, COLORS["dog"]).save(path),
    "clips": clip_folder,
    "clips.csv": clips_csv,
    "recordings": recordings,
    "sentences.txt": text_file,
    "text.txt": text_file,
    "book.txt": book,
    "shakespeare.txt": book,
    "letters": letters,
    "reviews.csv": reviews_csv,
    "models/my-bert": bert,
    "models/minilm": bert,
    "models/dinov2-small": dinov2_folder,
    "wav2vec2-base": wav2vec2,
    "dinov2_vits14.pth": dinov2,
    "freesolv.csv": freesolv_csv,
    "library.smi": library_smi,
    "moses-train.csv.gz": lambda path: table_gz(path, ("SMILES",), [(s,) for s in SMILES * 60]),
    "bace.csv": bace_csv,
    "esol.csv": esol_csv,
    "MUTAG.zip": mutag_zip,
    "graphs.csv": graphs_csv,
    "people.csv": people_csv,
    "presses.csv": presses_csv,
    "spectra.csv": spectra_csv,
    "long.csv": long_csv,
    "load.csv": load_csv,
    "Gestures_TRAIN.ts": gestures_ts,
    "Gestures_TEST.ts": gestures_ts,
    "notes.parquet": notes_parquet,
    "vit_tiny.pth": vit_tiny,
    "vit.pth": vit_tiny,
    "more.csv": shop_csv,
    "runs/first": pairs_run,
    "runs/second": pairs_run,
    "runs/image-text": pairs_run,
    "runs/simclr": images_run,
    "images.yaml": recipe_of("simclr", "folder", flat_folder, "scans"),
    "recordings.yaml": recipe_of("byol-a", "folder", clip_folder, "clips"),
    "molecules.yaml": recipe_of("molecules-descriptors", "molecules", library_smi, "library.smi"),
    "windows.npy": lambda path: np.save(path, draw().standard_normal((40, 2, 50)).cumsum(axis=2)),
}
"""File or folder name -> what makes it."""
MODELS = ("models/my-bert", "models/minilm", "models/dinov2-small", "wav2vec2-base")
"""Those that are folders of models, whose configuration is read before any data."""


def make_models(text: str, place: Path) -> None:
    """Make the folders of models that a page names."""
    for name in MODELS:
        if name in text:
            MATERIALS[name](place / name)


def table_gz(path: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    import gzip

    with gzip.open(path, "wt") as file:
        csv.writer(file).writerows([heading, *rows])
