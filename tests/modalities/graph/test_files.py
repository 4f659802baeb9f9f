"""Files with one graph each."""

import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from sensorium import BadSample
from sensorium.modalities.graph.decode import as_graph
from sensorium.testing.equality import same

RING = {"edge_index": [[0, 1, 2], [1, 2, 0]], "x": [[1], [2], [3]], "edge_attr": [0.5, 1.5, 2.5]}


def test_every_format_has_the_same_graph(tmp_path):
    arrays = {name: np.array(value) for name, value in RING.items()}
    (tmp_path / "a.json").write_text(json.dumps(RING))
    np.savez(tmp_path / "a.npz", **arrays, num_nodes=3)
    torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, tmp_path / "a.pt")
    for name in ("a.json", "a.npz", "a.pt"):
        assert same(as_graph(str(tmp_path / name)), as_graph(RING))


def test_a_folder_of_graphs_trains(tmp_path):
    import sensorium

    for kind in ("few", "many"):
        (tmp_path / "graphs" / kind).mkdir(parents=True)
        for number in range(8):
            np.savez(tmp_path / "graphs" / kind / f"{number}.npz", **RING)
    (tmp_path / "graphs" / "few" / "broken.npz").write_bytes(b"PK\x03\x04")
    overrides = (
        *("data.source={name: folder, path: graphs, field: graph, extensions: [.npz]}", "data.batch=4"),
        *("train.epochs=null", "train.steps=2", "evaluate.evaluators=null", "data.max_bad=0.2", "data.workers=0"),
    )
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path)
        model = sensorium.fit("graphcl-tu", overrides, run_dir="run")
        assert model.embed(graph=["graphs/few/0.npz"])["graph"].shape[0] == 1
    assert "few/broken.npz" in (tmp_path / "run" / "unreadable.csv").read_text()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npz", b"PK", "damaged"),
        ("a.json", b"{", "damaged"),
        ("a.json", b"\xff", "damaged"),
        ("a.json", b"[1]", "has a list, not arrays by their names"),
        ("a.json", b'{"nodes": 3}', "no edge_index; it has nodes"),
        ("a.pt", b"nothing", "Python objects|damaged"),
        ("a.gml", b"graph", "ends in none of .json, .npz, .pt"),
    ],
)
def test_other_files_are_unreadable(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSample, match=reason):
        as_graph(tmp_path / name)


def test_a_file_that_could_run_code_is_unreadable(tmp_path):
    torch.save(Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]])), tmp_path / "a.pt")
    with pytest.raises(BadSample, match=r"data.to_dict\(\)"):
        as_graph(tmp_path / "a.pt")
