"""Sensorium: self-supervised learning for any kind of data, through plugins.

The names below are the whole public surface. They are loaded at first use, so that `import sensorium`, the command
line's listings and a plugin's registration module cost no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "sensorium":  # the folder is not the package: two copies of every class would follow
    raise ImportError(f"This package is imported as 'sensorium', not as '{__name__}'.")

__version__ = "0.1.0"
API_VERSION = "1.4"
"""The version of the plugin contract: what is added raises its minor number, what breaks plugins its major one."""

_HOME = {
    "hookimpl": "sensorium.registration.hookspecs",
    # what travels
    "Batch": "sensorium.types",
    "Record": "sensorium.types",
    "Several": "sensorium.types",
    "Unreadable": "sensorium.types",
    "Features": "sensorium.types",
    "View": "sensorium.types",
    "Outcome": "sensorium.types",
    "Assignments": "sensorium.types",
    "Needs": "sensorium.types",
    "TrainingSize": "sensorium.types",
    "Span": "sensorium.types",
    # from the host to the device
    "to_device": "sensorium.devices",
    "device_constant": "sensorium.devices",
    # what a plugin writes
    "Modality": "sensorium.contracts",
    "Encoder": "sensorium.contracts",
    "TokenEncoder": "sensorium.contracts",
    "Tokens": "sensorium.contracts",
    "LayerStack": "sensorium.contracts",
    "Encoders": "sensorium.contracts",
    "ViewGenerator": "sensorium.contracts",
    "Objective": "sensorium.contracts",
    "Source": "sensorium.contracts",
    "OpenedAgain": "sensorium.contracts",
    "RecordColumns": "sensorium.contracts",
    "Split": "sensorium.contracts",
    "Schedule": "sensorium.contracts",
    "Task": "sensorium.contracts",
    "parameter_groups": "sensorium.optimizers.groups",
    "hidden_matrices": "sensorium.optimizers.groups",
    "Tokenizer": "sensorium.contracts",
    "Callback": "sensorium.contracts",
    "Training": "sensorium.contracts",
    "Logger": "sensorium.contracts",
    "Evaluator": "sensorium.contracts",
    "Protocol": "sensorium.contracts",
    "Exporter": "sensorium.exporters.base",
    "Verification": "sensorium.exporters.base",
    "largest_difference": "sensorium.exporters.base",
    "Table": "sensorium.data.readers",
    "TableReader": "sensorium.data.readers",
    "TextFile": "sensorium.data.encodings",
    "BadSample": "sensorium.errors",
    "Location": "sensorium.errors",
    "SensoriumError": "sensorium.errors",
    "check_range": "sensorium.errors",
    "collectives": "sensorium.collectives",
    "batch_norm": "sensorium.batch_norm",
    "losses": "sensorium.losses",
    "heads": "sensorium.heads",
    "masking": "sensorium.masking",
    "views": "sensorium.views",
    "weights": "sensorium.weights",
    "JointEmbedding": "sensorium.blocks.joint_embedding",
    "Pair": "sensorium.blocks.joint_embedding",
    "JointBatch": "sensorium.blocks.joint_embedding",
    "NegativeOptions": "sensorium.blocks.negatives",
    "NegativePool": "sensorium.blocks.negatives",
    "FeatureQueue": "sensorium.blocks.negatives",
    "TokenDecoder": "sensorium.blocks.token_decoder",
    "TokenPredictor": "sensorium.blocks.token_predictor",
    "CrossAttentionDecoder": "sensorium.blocks.joint_trunk",
    "JointTrunk": "sensorium.blocks.joint_trunk",
    "RecordRows": "sensorium.blocks.record_rows",
    "draw_masks": "sensorium.blocks.joint_trunk",
    "encode_visible": "sensorium.blocks.joint_trunk",
    "Visible": "sensorium.blocks.joint_trunk",
    "take_tokens": "sensorium.types",
    "token_counts": "sensorium.blocks.token_decoder",
    "at_least_one_row": "sensorium.types",
    "token_indices": "sensorium.blocks.token_decoder",
    "Teacher": "sensorium.blocks.teacher",
    "Standardization": "sensorium.blocks.standardization",
    "cosine_schedule": "sensorium.blocks.teacher",
    "Sum": "sensorium.blocks.sum",
    "Term": "sensorium.blocks.sum",
    "RowStreams": "sensorium.seeding",
    "host_generator": "sensorium.seeding",
    "draw_text": "sensorium.text_drawing",
    "text_width": "sensorium.text_drawing",
    "text_image": "sensorium.text_drawing",
    # a loop of one's own
    "Learner": "sensorium.models.learner",
    "GradientCache": "sensorium.training.gradient_cache",
    # what a user calls
    "check": "sensorium.api.checking",
    "pack": "sensorium.api.packing",
    "verify_pack": "sensorium.api.packing",
    "fit": "sensorium.api.training",
    "load": "sensorium.api.models",
    "evaluate": "sensorium.api.measuring",
    "evaluate_features": "sensorium.api.features",
    "crossfit": "sensorium.api.crossfitting",
    "replay": "sensorium.api.measuring",
    "embed": "sensorium.api.embedding",
    "index": "sensorium.api.indexing",
    "browse": "sensorium.api.browsing",
    "EmbeddingFile": "sensorium.embeddings.file",
    "mine": "sensorium.api.mining",
    "curate": "sensorium.curate",
    "report": "sensorium.api.reporting",
    "search": "sensorium.api.searching",
    "export": "sensorium.api.models",
    "load_encoder": "sensorium.api.models",
    "finetune": "sensorium.api.finetuning",
    "predict": "sensorium.api.predicting",
    "load_predictor": "sensorium.api.models",
    "sklearn": "sensorium.sklearn",
    "build": "sensorium.api.parts",
    "register": "sensorium.api.parts",
    "Recipe": "sensorium.recipe",
}
_MODULES = ("batch_norm", "collectives", "curate", "heads", "losses", "masking", "sklearn", "views", "weights")
"""Those of the names that are whole modules, each of its own name: `import sensorium.losses` finds it too."""
__all__ = ["API_VERSION", "__version__", *_HOME]

if TYPE_CHECKING:
    from sensorium import (
        batch_norm as batch_norm,
        collectives as collectives,
        curate as curate,
        heads as heads,
        losses as losses,
        masking as masking,
        sklearn as sklearn,
        views as views,
        weights as weights,
    )
    from sensorium.api.browsing import browse as browse
    from sensorium.api.checking import check as check
    from sensorium.api.crossfitting import crossfit as crossfit
    from sensorium.api.embedding import embed as embed
    from sensorium.api.features import evaluate_features as evaluate_features
    from sensorium.api.finetuning import finetune as finetune
    from sensorium.api.indexing import index as index
    from sensorium.api.measuring import (
        evaluate as evaluate,
        replay as replay,
    )
    from sensorium.api.mining import mine as mine
    from sensorium.api.models import (
        export as export,
        load as load,
        load_encoder as load_encoder,
        load_predictor as load_predictor,
    )
    from sensorium.api.packing import pack as pack, verify_pack as verify_pack
    from sensorium.api.parts import (
        build as build,
        register as register,
    )
    from sensorium.api.predicting import predict as predict
    from sensorium.api.reporting import report as report
    from sensorium.api.searching import search as search
    from sensorium.api.training import fit as fit
    from sensorium.blocks.joint_embedding import (
        JointBatch as JointBatch,
        JointEmbedding as JointEmbedding,
        Pair as Pair,
    )
    from sensorium.blocks.joint_trunk import (
        CrossAttentionDecoder as CrossAttentionDecoder,
        JointTrunk as JointTrunk,
        Visible as Visible,
        draw_masks as draw_masks,
        encode_visible as encode_visible,
    )
    from sensorium.blocks.negatives import (
        FeatureQueue as FeatureQueue,
        NegativeOptions as NegativeOptions,
        NegativePool as NegativePool,
    )
    from sensorium.blocks.record_rows import RecordRows as RecordRows
    from sensorium.blocks.standardization import Standardization as Standardization
    from sensorium.blocks.sum import Sum as Sum, Term as Term
    from sensorium.blocks.teacher import (
        Teacher as Teacher,
        cosine_schedule as cosine_schedule,
    )
    from sensorium.blocks.token_decoder import (
        TokenDecoder as TokenDecoder,
        token_counts as token_counts,
        token_indices as token_indices,
    )
    from sensorium.blocks.token_predictor import TokenPredictor as TokenPredictor
    from sensorium.contracts import (
        Callback as Callback,
        Encoder as Encoder,
        Encoders as Encoders,
        Evaluator as Evaluator,
        LayerStack as LayerStack,
        Logger as Logger,
        Modality as Modality,
        Objective as Objective,
        OpenedAgain as OpenedAgain,
        Protocol as Protocol,
        RecordColumns as RecordColumns,
        Schedule as Schedule,
        Source as Source,
        Split as Split,
        Task as Task,
        TokenEncoder as TokenEncoder,
        Tokenizer as Tokenizer,
        Tokens as Tokens,
        Training as Training,
        ViewGenerator as ViewGenerator,
    )
    from sensorium.data.encodings import TextFile as TextFile
    from sensorium.data.readers import (
        Table as Table,
        TableReader as TableReader,
    )
    from sensorium.devices import (
        device_constant as device_constant,
        to_device as to_device,
    )
    from sensorium.embeddings.file import EmbeddingFile as EmbeddingFile
    from sensorium.errors import (
        BadSample as BadSample,
        Location as Location,
        SensoriumError as SensoriumError,
        check_range as check_range,
    )
    from sensorium.exporters.base import (
        Exporter as Exporter,
        Verification as Verification,
        largest_difference as largest_difference,
    )
    from sensorium.models.learner import Learner as Learner
    from sensorium.optimizers.groups import (
        hidden_matrices as hidden_matrices,
        parameter_groups as parameter_groups,
    )
    from sensorium.recipe import Recipe as Recipe
    from sensorium.registration.hookspecs import hookimpl as hookimpl
    from sensorium.seeding import RowStreams as RowStreams, host_generator as host_generator
    from sensorium.text_drawing import (
        draw_text as draw_text,
        text_image as text_image,
        text_width as text_width,
    )
    from sensorium.training.gradient_cache import GradientCache as GradientCache
    from sensorium.types import (
        Assignments as Assignments,
        Batch as Batch,
        Features as Features,
        Needs as Needs,
        Outcome as Outcome,
        Record as Record,
        Several as Several,
        Span as Span,
        TrainingSize as TrainingSize,
        Unreadable as Unreadable,
        View as View,
        at_least_one_row as at_least_one_row,
        take_tokens as take_tokens,
    )


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'sensorium' has no attribute '{name}'")
    home = import_module(_HOME[name])
    return home if name in _MODULES else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
