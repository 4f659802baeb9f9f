"""What the commands do, as functions."""

from sensorium.api.checking import check
from sensorium.api.crossfit import crossfit
from sensorium.api.embedding import embed_source
from sensorium.api.finetuning import Finetuned, finetune
from sensorium.api.measuring import evaluate, replay
from sensorium.api.mining import mine
from sensorium.api.models import export, load, load_encoder, load_predictor
from sensorium.api.parts import build, register
from sensorium.api.searching import search
from sensorium.api.training import fit

__all__ = [
    "Finetuned",
    "build",
    "check",
    "crossfit",
    "embed_source",
    "evaluate",
    "export",
    "finetune",
    "fit",
    "load",
    "load_encoder",
    "load_predictor",
    "mine",
    "register",
    "replay",
    "search",
]
