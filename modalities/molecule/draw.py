"""Drawings of molecules and of their augmented views."""

from __future__ import annotations

import io

from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

SIZE = 256


def draw(mol: Chem.Mol) -> Image.Image:
    """Return an RGB image of 256 x 256 pixels; the molecule needs ring info but no sanitization."""
    flat = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(flat)
    canvas = rdMolDraw2D.MolDraw2DCairo(SIZE, SIZE)
    canvas.drawOptions().prepareMolsBeforeDrawing = False  # type: ignore[assignment] # a cut ring cannot be kekulized
    canvas.DrawMolecule(flat)
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")
