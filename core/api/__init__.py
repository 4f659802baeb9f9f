"""What the commands do, as functions."""

from sensorium.api.measuring import Finetuned, evaluate, finetune, replay
from sensorium.api.models import export, load, load_encoder, load_predictor
from sensorium.api.searching import embed_source, mine, search
from sensorium.api.training import fit

__all__ = [
    "Finetuned",
    "embed_source",
    "evaluate",
    "export",
    "finetune",
    "fit",
    "load",
    "load_encoder",
    "load_predictor",
    "mine",
    "replay",
    "search",
]
