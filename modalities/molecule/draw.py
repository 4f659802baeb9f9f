"""Pictures of molecules, of whole ones and of what views leave of them."""

from __future__ import annotations

import io

from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

SIZE = 256


def draw(mol: Chem.Mol) -> Image.Image:
    """Return an RGB picture of 256 x 256 pixels; the molecule need not be sanitised, only its rings be found."""
    flat = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(flat)
    canvas = rdMolDraw2D.MolDraw2DCairo(SIZE, SIZE)
    canvas.drawOptions().prepareMolsBeforeDrawing = False  # type: ignore[assignment] # a cut ring cannot be kekulised
    canvas.DrawMolecule(flat)
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")
