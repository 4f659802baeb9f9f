"""Mined negatives equal those of a plain loop over all pairs; false negatives are excluded."""

import json
from importlib.metadata import EntryPoint

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

import sensorium
from sensorium import Needs, hookimpl
from sensorium.data.mined_negatives import SCHEMA
from sensorium.errors import RecipeError, SensoriumError
from sensorium.feature_table import FeatureTable
from sensorium.mining.duplicates import IDENTICAL
from sensorium.mining.hard_negatives import mine_negatives
from sensorium.mining.options import MiningOptions
from sensorium.neighbors import similarity
from sensorium.neighbors.search import IndexOptions
from sensorium.plugins.crossmodal.clip import CLIP
from sensorium.registration.discovery import load_extensions
from tests import toys

EVERYTHING = MiningOptions(count=10_000, ranks=(1, 10_000), margin=0.0)


def table(n=40, seed=0, groups=None, missing=0.0, noise=1.0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, 6)).astype(np.float32)
    b = (a + noise * rng.standard_normal((n, 6))).astype(np.float32)
    present = {"a": rng.random(n) >= missing, "b": rng.random(n) >= missing}
    features = {name: np.where(present[name][:, None], x, np.nan) for name, x in (("a", a), ("b", b))}
    return FeatureTable([f"r{i}" for i in range(n)], features, present, {}, groups or [f"g{i}" for i in range(n)])


def unit(x):
    return x / np.linalg.norm(x)


def by_loop(t, query, target, options, values=None):
    """The options as they are documented, one pair at a time."""

    def duplicates(i, j, modality):
        x = t.features[modality]
        equal = values and values[modality][i] is not None and values[modality][i] == values[modality][j]
        return equal or np.linalg.norm(unit(x[i]) - unit(x[j])) <= IDENTICAL

    queries, targets = (np.flatnonzero(t.present[name]).tolist() for name in (query, target))
    found = []
    for q in queries:
        positives = [p for p in targets if t.groups[p] == t.groups[q]]
        if not positives:
            continue
        groups = {t.groups[r] for r in queries if duplicates(q, r, query)}
        excluded = [p for p in targets if t.groups[p] in groups]
        others = [n for n in targets if not any(duplicates(n, p, target) for p in excluded)]

        def cosine(j, q=q):
            return float(unit(t.features[query][q]) @ unit(t.features[target][j]))

        threshold = min(cosine(p) for p in positives)
        threshold -= options.margin * abs(threshold)
        ranked = sorted(others, key=lambda j: -cosine(j))
        candidates = [(rank, j) for rank, j in enumerate(ranked, 1) if options.ranks[0] <= rank <= options.ranks[1]]
        kept = [(rank, j) for rank, j in candidates if cosine(j) <= threshold][: options.count]
        found += [(t.ids[q], t.ids[j], rank) for rank, j in kept]
    return found


def triples(mined):
    return list(zip(mined.queries, mined.negatives, mined.ranks.tolist(), strict=True))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.integers(1, 4),
    first=st.integers(1, 4),
    margin=st.sampled_from([0.0, 0.1, 0.5]),
    missing=st.sampled_from([0.0, 0.4]),
    pair=st.sampled_from([("a", "b"), ("b", "a"), ("a", "a")]),
    repeated=st.booleans(),
)
def test_agrees_with_the_loop(seed, sizes, first, margin, missing, pair, repeated):
    t = table(24, seed, [f"g{i // sizes}" for i in range(24)], missing)
    values = None
    if repeated:  # some records repeat a value of another group, some an embedding
        t.features["b"][5] = t.features["b"][20]
        t.features["a"][7] = t.features["a"][15]
        t.present["b"][[5, 20]] = t.present["a"][[7, 15]] = True
        t.features["b"][[5, 20]] = 1.0
        t.features["a"][[7, 15]] = -1.0
        own = [i if i in (3, 5, 7, 15, 20, 22) else i % 17 for i in range(24)]  # 17 is of one value with 0, and so on
        values = {name: [own[i] if t.present[name][i] else None for i in range(24)] for name in ("a", "b")}
    options = MiningOptions(count=3, ranks=(first, first + 5), margin=margin)
    alike = {"r20": "r5", "r15": "r7"} if repeated else {}  # the order of equal ones is not specified
    mined, looped = triples(mine_negatives(t, *pair, options, values)), by_loop(t, *pair, options, values)
    named = [[(q, alike.get(n, n), rank) for q, n, rank in found] for found in (mined, looped)]
    assert named[0] == named[1]


@pytest.mark.parametrize("index", ["exact", "tiles", "ivf", "hnsw"])
def test_blocks_and_indices_agree(index, monkeypatch):
    t = table(300, groups=[f"g{i // 3}" for i in range(300)])
    whole = mine_negatives(t, "a", "b", MiningOptions())
    assert whole.about["index"] == "exact search"
    monkeypatch.setattr(similarity, "MAX_SIMILARITIES", 300 * 7)  # seven queries at a time
    if index == "tiles":
        monkeypatch.setattr(similarity, "TILED", 100)
        options = IndexOptions("exact")
    else:
        options = IndexOptions(index, nprobe=300, ef_search=300)  # all lists, all of the graph
    blockwise = mine_negatives(t, "a", "b", MiningOptions(), index=options)
    assert triples(blockwise) == triples(whole)
    np.testing.assert_allclose(blockwise.scores, whole.scores, atol=1e-6)
    assert blockwise.statistics.keys() == whole.statistics.keys()


def test_a_collapsed_encoder_has_no_negatives():
    t = table(500)
    t.features["b"][:] = 1.0
    mined = mine_negatives(t, "a", "b", EVERYTHING)
    assert len(mined) == 0
    assert mined.statistics["queries without a negative"] == 500


def test_the_margin_is_relative_to_the_least_positive():
    t = table(60, groups=[f"g{i // 2}" for i in range(60)])
    mined = mine_negatives(t, "a", "b", MiningOptions(count=50, margin=0.2))
    assert (mined.scores <= mined.positive_scores - 0.2 * np.abs(mined.positive_scores) + 1e-6).all()
    most = {
        q: max(float(unit(t.features["a"][i]) @ unit(t.features["b"][j])) for j in (i, i ^ 1))
        for i, q in enumerate(t.ids)
    }
    assert any(score < most[q] - 0.1 for q, score in zip(mined.queries, mined.positive_scores, strict=True))


def test_a_random_choice_is_within_the_candidates_and_deterministic():
    t = table(200)
    options = MiningOptions(count=3, ranks=(2, 30), choose="random", seed=1)
    once, again = mine_negatives(t, "a", "b", options), mine_negatives(t, "a", "b", options)
    assert triples(once) == triples(again)
    allowed = set(triples(mine_negatives(t, "a", "b", MiningOptions(count=100, ranks=(2, 30)))))
    assert set(triples(once)) <= allowed
    assert triples(once) != triples(mine_negatives(t, "a", "b", MiningOptions(count=3, ranks=(2, 30))))


def test_invalid_options_are_refused():
    for options, sentence in [
        ({"count": 0}, "count >= 1"),
        ({"ranks": (5, 4)}, "1 <= first rank"),
        ({"margin": 1.0}, "below 1"),
        ({"choose": "best"}, "'hardest' or 'random'"),
    ]:
        with pytest.raises(SensoriumError, match=sentence):
            MiningOptions(**options)
    with pytest.raises(SensoriumError, match="no index 'annoy'"):
        IndexOptions("annoy")
    t = table(4, groups=["w", "x", "y", "z"])
    t.present["a"][:2], t.present["b"][2:] = False, False
    with pytest.raises(SensoriumError, match="nothing to mine"):
        mine_negatives(t, "a", "b", MiningOptions())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mining") / "run"
    toys_source = toys.vectors(count=200)
    sensorium.fit(
        toys.pair_recipe(evaluate={"evaluators": {}}), source=toys_source, run_dir=folder, extensions=toys.extensions()
    )
    return folder


def test_the_mined_file_of_a_run_trains_a_recipe(run, tmp_path):
    out, source = tmp_path / "negatives.parquet", toys.vectors(count=200)
    mined = sensorium.mine(run, out, margin=0.0, source=source, extensions=toys.extensions())
    assert len(mined) > 100
    assert pq.read_schema(out).equals(SCHEMA)
    metadata = json.loads(pq.read_schema(out).metadata[b"sensorium"])
    assert metadata["about"]["target"] == metadata["about"]["field"] == "b"
    assert metadata["statistics"] == mined.statistics
    assert (tmp_path / "negatives.png").stat().st_size > 1000

    recipe = toys.pair_recipe(evaluate={"evaluators": {}}) | {"objective": "with-negatives"}
    recipe["data"] = recipe["data"] | {"negatives": {"path": str(out), "count": 2}}
    extensions = load_extensions({}, [EntryPoint("toys", "tests.toys", "sensorium"), WITH_NEGATIVES])
    seen_rows.clear()
    sensorium.fit(recipe, source=source, run_dir=tmp_path / "trained", extensions=extensions)
    rows = {source.key(i).id: i for i in range(len(source))}
    wanted = {tuple(source[rows[n]].values["b"].split()) for n in mined.negatives}
    mean = json.loads((tmp_path / "trained" / "modalities" / "b.json").read_text())["mean"]
    seen = {tuple(f"{value + mean:.5f}" for value in row) for row in seen_rows}
    assert len(seen) > 50
    assert len(seen - wanted) < 0.1 * len(seen)  # but for the last digit of some
    with pytest.raises(RecipeError, match=r"'without-negatives' makes no use of data\.negatives; objectives that do"):
        sensorium.fit(recipe | {"objective": "without-negatives"}, source=source, extensions=extensions)


seen_rows = []


class WithNegatives(CLIP):
    """CLIP that records the negative views it is given."""

    needs = Needs(views=1, modalities="many", negative_views=True)

    def forward(self, views, encode):
        negatives = [view for view in views["b"] if view.is_negative]
        assert not any(view.is_negative for view in views["a"])
        assert [view.modality for view in negatives] == ["b", "b"]
        assert all(view.present is None or len(view) == view.present.sum() for view in negatives)
        seen_rows.extend(row for view in negatives for row in view.batch.values.tolist())
        return super().forward({name: of_name[:1] for name, of_name in views.items()}, encode)


class WithoutNegatives(CLIP):
    """CLIP without negative views."""

    needs = Needs(views=1, modalities="many")


@hookimpl
def sensorium_register_objectives(register):
    register("with-negatives", "tests.core.mining.test_hard_negatives:WithNegatives", summary="takes negative views")
    register("without-negatives", "tests.core.mining.test_hard_negatives:WithoutNegatives", summary="takes none")


WITH_NEGATIVES = EntryPoint("with-negatives", "tests.core.mining.test_hard_negatives", "sensorium")


def test_records_of_one_modality_are_mined_among_themselves(tmp_path):
    source = toys.vectors(count=100)
    sensorium.fit(toys.recipe(), source=source, run_dir=tmp_path / "run", extensions=toys.extensions())
    mined = sensorium.mine(tmp_path / "run", part="all", source=source, extensions=toys.extensions())
    assert mined.about["query"] == mined.about["target"] == "a"
    assert mined.statistics["queries"] == 100
    assert all(q != n for q, n in zip(mined.queries, mined.negatives, strict=True))
