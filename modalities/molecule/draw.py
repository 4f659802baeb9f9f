"""Drawings of molecules and of their augmented views."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Geometry import Point2D

from sensorium.modalities.molecule.features import DUMMY, MoleculeFeatures, to_mol

SIZE, BORDER = 256, 0.6
"""Side of a drawing in pixels, and what is left free around atoms, in the length of a bond of 1.5."""


def draw(mol: Chem.Mol) -> Image.Image:
    """Return an RGB image of 256 x 256 pixels; the molecule needs ring info but no sanitization."""
    flat = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(flat)
    return _drawn(flat)


def draw_view(
    original: MoleculeFeatures, view: MoleculeFeatures, atom_M: np.ndarray, shaded_M: np.ndarray
) -> Image.Image:
    """Return an image of a view over its faint original, every atom where it is in the original.

    Args:
        original: of N atoms.
        view: of M atoms.
        atom_M: int64 (M,), the atom of the original that each atom of the view is.
        shaded_M: bool (M,), atoms of the view to be shaded.
    """
    whole = to_mol(original)
    rdDepictor.Compute2DCoords(whole)
    atoms_NF = np.tile(DUMMY, (len(original.atoms), 1))
    atoms_NF[atom_M] = view.atoms
    seen = to_mol(MoleculeFeatures(atoms_NF, atom_M[view.ends], view.bonds))
    seen.AddConformer(Chem.Conformer(whole.GetConformer()))
    for dropped in set(range(len(original.atoms))) - set(atom_M.tolist()):
        seen.GetAtomWithIdx(dropped).SetProp("_displayLabel", " ")  # keeps its place, so that both have one scale
    faint = Image.blend(_drawn(whole), Image.new("RGB", (SIZE, SIZE), "white"), 0.7)
    return ImageChops.darker(faint, _drawn(seen, [int(atom) for atom in atom_M[shaded_M]]))


def _drawn(flat: Chem.Mol, shaded: Sequence[int] = ()) -> Image.Image:
    canvas = rdMolDraw2D.MolDraw2DCairo(SIZE, SIZE)
    canvas.drawOptions().prepareMolsBeforeDrawing = False  # type: ignore[assignment] # a cut ring cannot be kekulized
    xy_N2 = flat.GetConformer().GetPositions()[:, :2]
    low, high = (Point2D(*xy) for xy in (xy_N2.min(0) - BORDER, xy_N2.max(0) + BORDER))
    canvas.SetScale(SIZE, SIZE, low, high)  # by atoms alone: labels differ between a view and its original
    canvas.DrawMolecule(flat, highlightAtoms=list(shaded), highlightBonds=[])
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")
