"""The split of a run: which part (train, val or test) each record belongs to, and the splits that recipes name."""

from sensorium.data.splits.assignment import assign_parts, numbers_of, positions_of
from sensorium.data.splits.parts import PARTS, part_name, require_part

__all__ = ["PARTS", "assign_parts", "numbers_of", "part_name", "positions_of", "require_part"]
