"""What a plugin writes: Modality, ViewGenerator, Encoder, Objective, Source, Split, Tokenizer, Evaluator, Protocol,
Callback, Logger.

Each is a small abstract class. Constructor arguments are the options of a recipe: they are keyword arguments with
types, validated against the signature, and the `Args:` section of the class docstring is their help text. Whatever
belongs to a modality (its encoders and view generators) receives that modality as its first argument.
"""

from sensorium.contracts.callback import Callback, Training
from sensorium.contracts.encoder import Encode, Encoder, Encoders, LayerStack, TokenEncoder, Tokens
from sensorium.contracts.evaluator import Evaluator
from sensorium.contracts.logger import Ending, Logger
from sensorium.contracts.modality import Modality
from sensorium.contracts.objective import Objective
from sensorium.contracts.opened_again import OpenedAgain
from sensorium.contracts.protocol import Protocol
from sensorium.contracts.record_columns import RecordColumns
from sensorium.contracts.schedule import Schedule
from sensorium.contracts.source import Source
from sensorium.contracts.split import Split
from sensorium.contracts.task import Task
from sensorium.contracts.tokenizer import Tokenizer
from sensorium.contracts.view_generator import ViewGenerator, has_target

__all__ = [
    "Callback",
    "Encode",
    "Encoder",
    "Encoders",
    "Ending",
    "Evaluator",
    "LayerStack",
    "Logger",
    "Modality",
    "Objective",
    "OpenedAgain",
    "Protocol",
    "RecordColumns",
    "Schedule",
    "Source",
    "Split",
    "Task",
    "TokenEncoder",
    "Tokenizer",
    "Tokens",
    "Training",
    "ViewGenerator",
    "has_target",
]
