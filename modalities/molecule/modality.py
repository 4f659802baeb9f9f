"""The molecule modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rdkit import Chem

from sensorium import BadSample, Modality
from sensorium.errors import DataError
from sensorium.modalities.graph.batch import Graph, GraphBatch, Schema
from sensorium.modalities.molecule.draw import draw
from sensorium.modalities.molecule.features import ATOM_SIZES, BOND_SIZES, MoleculeFeatures, featurize, rebuild
from sensorium.modalities.molecule.fingerprints import Kind, fingerprint_features
from sensorium.modalities.molecule.parse import Fragments, InParts, parse


class MoleculeModality(Modality):
    """Molecules as graphs of atoms and bonds.

    A raw value is a SMILES, a mol block or an rdkit molecule; hydrogens that need not be told are folded into their
    atoms, there are no conformers. An atom has ten features: element, degree, charge, hydrogens, hybridization, whether
    aromatic and in a ring, stereo center (R or S), unpaired electrons and isotope. A bond has four: type, stereo (E or
    Z), whether conjugated and in a ring. Each is a small integer; `sensorium.modalities.molecule.features` has the
    tables and their sizes. Salts, metals, isotopes and radicals are molecules like others.

    Args:
        invalid: what becomes of a value that is no molecule: "skip" leaves it out, counted and named in the run's
            bad-records.jsonl; "error" stops.
        fragments: what becomes of a molecule of several unconnected parts: "keep" takes it whole, "largest" its part of
            most heavy atoms, "skip" leaves it out, "error" stops.
        motifs: give bonds a fifth feature, whether BRICS would cut them into motifs, which views that keep or count
            motifs need; it doubles the work.
        baseline: the baseline features of tables: "ecfp4" (2,048 bits), "descriptors" (46 of rdkit's) or "both".
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
        """What atoms and bonds carry."""
        return Schema(nodes=tuple(ATOM_SIZES.values()), edges=(*BOND_SIZES.values(), *[2] * self.motifs))

    def decode(self, raw: Any) -> Graph:
        """Turn a raw value into a graph of atoms; a bond leads both ways, first as rdkit has it.

        Raises:
            BadSample: with the reason, when the value is no molecule.
            DataError: when it is none, or has several parts, and the options say that this stops.
        """
        features = featurize(self._mol(raw), self.motifs)
        both_ways = np.stack([features.ends, features.ends[:, ::-1]], axis=1).reshape(-1, 2)
        return Graph(
            torch.from_numpy(both_ways.T.copy()),
            torch.from_numpy(features.atoms),
            edge_attr=torch.from_numpy(features.bonds.repeat(2, axis=0)),
        )

    def _mol(self, raw: Any) -> Chem.Mol:
        try:
            return parse(raw, self.fragments)
        except BadSample as error:
            option = "fragments" if isinstance(error, InParts) else "invalid"
            if getattr(self, option) == "error":
                raise DataError(
                    f"The molecule {str(raw)[:80]!r} is refused, {error}: mend it, or set the modality's {option} "
                    "to skip."
                ) from error
            raise

    def collate(self, examples: Sequence[Graph]) -> GraphBatch:
        """Join molecules into one batch."""
        return GraphBatch.join(examples)

    def preview(self, example: Graph) -> Image.Image:
        """Draw a molecule, or what a view left of it, on 256 x 256 pixels."""
        return draw(rebuild(_features(example)))

    def examples(self, batch: GraphBatch) -> list[Graph]:
        """Take a batch apart into molecules."""
        return list(batch.graphs())

    def baseline_features(self, batch: GraphBatch) -> np.ndarray:
        """Return ECFP4 or descriptors of whole molecules; both are told by the graph, stereo has no part in them."""
        mols = [rebuild(_features(graph)) for graph in batch.graphs()]
        for mol in mols:
            Chem.SanitizeMol(mol)
        return fingerprint_features(mols, self.kind)


def _features(graph: Graph) -> MoleculeFeatures:
    """Return a graph's features with each bond once, the way in which it stands first."""
    assert graph.x is not None
    assert graph.edge_attr is not None
    pairs_E2 = graph.edge_index.T.numpy()
    _, first = np.unique(np.sort(pairs_E2, axis=1), axis=0, return_index=True)
    first.sort()
    return MoleculeFeatures(graph.x.numpy(), pairs_E2[first], graph.edge_attr.numpy()[first])
