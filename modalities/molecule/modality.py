"""The molecule modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rdkit import Chem

from sensorium import BadSample, Modality, View
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema
from sensorium.modalities.graph.decode import as_graph
from sensorium.modalities.graph.random_graphs import random_graphs
from sensorium.modalities.graph.traced import TracedView, drawn_views
from sensorium.modalities.molecule.descriptors import DESCRIPTORS, descriptors
from sensorium.modalities.molecule.draw import draw, draw_view
from sensorium.modalities.molecule.features import ATOM_SIZES, BOND_SIZES, MoleculeFeatures, featurize, to_mol
from sensorium.modalities.molecule.fingerprints import Kind, fingerprint_features
from sensorium.modalities.molecule.parse import Fragments, SeveralFragments, parse, smiles_of


class MoleculeModality(Modality):
    """Molecular graphs of heavy atoms and bonds, without conformers.

    A raw value is a SMILES, a mol block or an RDKit molecule, or what `encode` made of a graph. Atom features are
    element, degree, formal charge, number of hydrogens, hybridization, aromaticity, ring membership, chirality (R or
    S), radical electrons and isotope; bond features are type, stereo (E or Z), conjugation and ring membership. All are
    categorical: `sensorium.modalities.molecule.features` has the tables. Salts, metals, isotopes and radicals are
    supported.

    Args:
        invalid: how to treat a value that RDKit rejects: "skip" skips it, counted and listed in the run's
            unreadable.csv; "error" stops.
        fragments: how to treat several disconnected fragments: "keep" keeps all, "largest" keeps the fragment of most
            heavy atoms, "skip" skips the molecule, "error" stops.
        motifs: add a bond feature that marks BRICS bonds, which the motif views need; it doubles the featurization
            time.
        baseline: baseline features in tables: "ecfp4" (2,048 bits), "descriptors" (217 from RDKit, those
            that are undefined 0) or "both".
    """

    def __init__(
        self,
        invalid: Literal["skip", "error"] = "skip",
        fragments: Fragments = "keep",
        motifs: bool = False,
        baseline: Kind = "ecfp4",
    ) -> None:
        self.invalid, self.fragments, self.motifs, self.kind = invalid, fragments, motifs, baseline

    @property
    def schema(self) -> Schema:
        """The atom and bond features."""
        return Schema(
            node_categories=tuple(ATOM_SIZES.values()), edge_categories=(*BOND_SIZES.values(), *[2] * self.motifs)
        )

    def decode(self, raw: Any) -> Graph:
        """Turn a raw value into a molecular graph, each bond in both directions, RDKit's first.

        Raises:
            BadSample: with the reason, when the value is not a valid molecule, or has several fragments.
            DataError: instead, where the option `invalid` or `fragments` is "error".
        """
        if isinstance(raw, Mapping):
            return self._of_arrays(raw)
        features = featurize(self._mol(raw), self.motifs)
        directed_E2 = np.stack([features.ends, features.ends[:, ::-1]], axis=1).reshape(-1, 2)
        return Graph(
            torch.from_numpy(directed_E2.T.copy()),
            torch.from_numpy(features.atoms),
            edge_attr=torch.from_numpy(features.bonds.repeat(2, axis=0)),
        )

    def _of_arrays(self, raw: Mapping[str, Any]) -> Graph:
        """Return the graph that `encode` took apart."""
        graph = as_graph(raw)
        widths = [0 if part is None else part.shape[1] for part in (graph.x, graph.edge_attr)]
        if widths != [len(self.schema.node_categories), len(self.schema.edge_categories)]:
            raise BadSample("the packed molecule has other features: it was packed with other options", "unsupported")
        return Graph(graph.edge_index, graph.x, edge_attr=graph.edge_attr)

    def encode(self, example: Graph) -> dict[str, np.ndarray]:
        """Return the arrays of a molecular graph, as few bytes as they need."""
        assert example.x is not None
        assert example.edge_attr is not None
        arrays = {"edge_index": example.edge_index, "x": example.x, "edge_attr": example.edge_attr}
        return {name: _smallest(array.numpy()) for name, array in arrays.items()}

    def _mol(self, raw: Any) -> Chem.Mol:
        try:
            return parse(raw, self.fragments)
        except BadSample as error:
            option = "fragments" if isinstance(error, SeveralFragments) else "invalid"
            if getattr(self, option) == "error":
                raise DataError(
                    f"A molecule cannot be used, as {error}; correct it, or set the modality's {option} to skip."
                ) from error
            raise

    def collate(self, examples: Sequence[Graph]) -> GraphBatch:
        """Join molecules into one batch."""
        return GraphBatch.join(examples)

    def caption(self, raw: Any) -> str | None:
        """Return the SMILES of a molecule: as it is given, or as RDKit writes a mol block or a molecule."""
        try:
            return smiles_of(raw)
        except BadSample:
            return None

    def describe(self, raw: Any, example: Graph) -> dict[str, float | bool | str]:
        """Return the numbers of heavy atoms and bonds, and whether the value has several fragments, such as a salt."""
        several = len(Chem.GetMolFrags(parse(raw))) > 1
        return {"heavy atoms": len(example), "bonds": example.edge_index.shape[1] // 2, "several fragments": several}

    def content(self, raw: Any, example: Graph) -> str:
        """Return the canonical SMILES."""
        return Chem.MolToSmiles(self._mol(raw))

    def preview(self, example: Graph) -> Image.Image:
        """Draw a molecule, or a view of one, on 256 x 256 pixels."""
        return draw(to_mol(_features(example)))

    def preview_views(self, batch: GraphBatch, views: Sequence[View]) -> list[list[Image.Image]]:  # type: ignore[override]
        """Draw views with every atom where it is in the original: what is dropped faint, what is masked shaded."""
        return drawn_views(self.examples(batch), views, self.examples, self._draw_view, self.preview)

    def _draw_view(self, original: Graph, view: TracedView) -> Image.Image:
        return draw_view(
            _features(original), _features(view.graph), view.node_M.numpy(), (view.masked_M | view.marked_M).numpy()
        )

    def examples(self, batch: GraphBatch) -> list[Graph]:
        """Split a batch into molecules."""
        return list(batch.graphs())

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> GraphBatch:
        """Return random trees with features of its schema."""
        return random_graphs(self.schema, count, is_long, rng)

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """RDKit's names."""
        return DESCRIPTORS

    def descriptors(self, example: Graph) -> np.ndarray:
        """Return RDKit's descriptors of a whole molecule, float32 (217,); none depends on its stereochemistry."""
        return descriptors(_molecule(example))

    @property
    def baseline_description(self) -> str:
        """The option `baseline`."""
        return self.kind

    def baseline_features(self, batch: GraphBatch) -> np.ndarray:
        """Return ECFP4 or descriptors of whole molecules; neither depends on stereochemistry."""
        return fingerprint_features([_molecule(graph) for graph in batch.graphs()], self.kind)


def _smallest(array: np.ndarray) -> np.ndarray:
    """Return integers, none negative, in the smallest type that holds them."""
    return array.astype(np.min_scalar_type(int(array.max(initial=0))))


def _molecule(graph: Graph) -> Chem.Mol:
    """Return the sanitized molecule of a whole graph, without stereochemistry."""
    mol = to_mol(_features(graph))
    Chem.SanitizeMol(mol)
    return mol


def _features(graph: Graph) -> MoleculeFeatures:
    """Return a graph's features with each bond once, in its first direction."""
    assert graph.x is not None
    assert graph.edge_attr is not None
    pairs_E2 = graph.edge_index.T.numpy()
    _, first = np.unique(np.sort(pairs_E2, axis=1), axis=0, return_index=True)
    first.sort()
    return MoleculeFeatures(graph.x.numpy(), pairs_E2[first], graph.edge_attr.numpy()[first])
