"""A model: modalities and a learner, ready to embed raw values; exported to and opened from plain files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sensorium.blocks.lora import factors_of, merge, merged_weights
from sensorium.devices import evaluation_autocast
from sensorium.errors import BadSample, DataError, RunError, SensoriumError, not_found
from sensorium.models.learner import Learner, make_views
from sensorium.models.plain_parts import ModuleEncoder
from sensorium.models.plan import Plan, make_plan
from sensorium.recipe.reading import validate
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import write_atomically
from sensorium.runs.checkpoint_contents import mismatch
from sensorium.runs.run import Run
from sensorium.seeding import generator
from sensorium.types import Batch, RecordBatch, View

WEIGHTS, CONFIG, ADAPTERS = "model.safetensors", "config.json", "adapters.safetensors"
SPACES = ("embedding", "features", "layers", "tokens")


class Model:
    """The parts of a run with their weights, ready to embed raw values.

    Args:
        plan: the parts; its modalities are fitted.
        learner: the weights.
        run: the run that they come from, if any.
        adapters: factors of the adapters that were merged into its encoders, by their names in the training's learner.
    """

    def __init__(
        self, plan: Plan, learner: Learner, run: Run | None = None, adapters: Mapping[str, Tensor] | None = None
    ) -> None:
        self.plan, self.learner, self.run, self.adapters = plan, learner, run, dict(adapters or {})

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names under which raw values can be embedded."""
        return tuple(self.plan.modalities)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.learner.parameters()).device

    def encoder(self, modality: str) -> nn.Module:
        """Return the trained encoder of a modality: of a plain module that was handed in to `fit`, that module's copy.

        Raises:
            DataError: for a modality that the model does not have.
        """
        self._require(modality)
        encoder = self.learner.encoder(modality)
        return encoder.module if isinstance(encoder, ModuleEncoder) else encoder

    def _require(self, modality: str) -> None:
        if modality not in self.modalities:
            problem, known = f"The model has no modality '{modality}'", ", ".join(self.modalities)
            raise DataError(not_found(problem, modality, self.modalities, f"it has {known}"))

    def to(self, device: torch.device | str) -> Model:
        """Move the weights; returns the model itself."""
        self.learner.to(device)
        return self

    def __repr__(self) -> str:
        """Say what the model is: its encoders and their widths, its objective, its size, where it is."""
        recipe = self.plan.recipe
        towers = [
            f"{name}: {tower.encoder}, {self.learner.encoder(name).dim} features"
            for name, tower in recipe.modalities.items()
        ]
        count = sum(parameter.numel() for parameter in self.learner.parameters())
        of_run = f"; {self.run.folder}" if self.run is not None else ""
        return f"Model({'; '.join(towers)}; {recipe.objective_in_words}; {count:,} parameters on {self.device}{of_run})"

    def alike(self, other: Model) -> bool:
        """Whether two models come from one recipe, seeds aside, and from modalities with equal states."""
        recipes = [
            {**model.plan.recipe.plain(), "seed": 0, "evaluate": None, "finetune": None} for model in (self, other)
        ]
        states = [{n: m.state() for n, m in model.plan.modalities.items()} for model in (self, other)]
        return recipes[0] == recipes[1] and states[0] == states[1]

    def embed(self, *, space: str = "embedding", batch: int = 256, **raws: Sequence[Any]) -> dict[str, Tensor]:
        """Embed raw values of one or more modalities.

        Args:
            space: "embedding" for the space that the objective compares in, "features" for pooled features, "layers"
                for each layer's mean token and "tokens" for the tokens of the last, as `Learner.encode` returns them.
            batch: how many values are encoded at once.
            raws: modality name -> raw values: paths, bytes, arrays, strings. One value that is no sequence itself (a
                path, a text, bytes, an image of Pillow, a graph) stands for a list of one; an array is a sequence of
                the values along its first axis.

        Returns:
            Modality name -> float32 (N, D) on the CPU, N = 1 for one value; rows of the joint space are not normalized.
            In the space "layers" (N, L, D), in "tokens" (N, T, D), nan at padding.

        Raises:
            DataError: for a modality that the model does not have, or a value that cannot be decoded.
            SensoriumError: for a space that there is not, or in which an encoder has nothing.
        """
        return {name: self._embed(name, several(values), space, batch) for name, values in raws.items()}

    def stream(
        self, modality: str, values: Iterable[Any], *, space: str = "embedding", batch: int = 256
    ) -> Iterator[Tensor]:
        """Embed raw values of one modality batch by batch, so that there may be any number of them.

        Args:
            modality: name of the modality.
            values: raw values, of any iterable: a list, a generator, a file's lines.
            space: as in `embed`.
            batch: how many values are encoded at once.

        Yields:
            float32 (B, D) on the CPU, in the order of the values; as `embed` in other spaces. B is `batch`, and what is
            left in the last one.

        Raises:
            DataError: as `embed`, when the value is reached.
        """
        self._require(modality)
        decoder, numbered = self.plan.modalities[modality], enumerate(values)
        while chunk := list(islice(numbered, batch)):
            examples = []
            for number, raw in chunk:
                try:
                    examples.append(decoder.decode(raw))
                except BadSample as error:
                    raise DataError(f"Value {number} of {modality} cannot be decoded: {error}.") from error
            yield self.encode(modality, decoder.collate(examples), space).cpu()

    def _embed(self, name: str, values: Sequence[Any], space: str, size: int) -> Tensor:
        raws = (raw for start in range(0, len(values), size) for raw in values[start : start + size])
        parts = list(self.stream(name, raws, space=space, batch=size))
        return joined_rows(parts) if parts else torch.empty(0, 0)

    def encode(self, modality: str, batch: Batch, space: str = "embedding") -> Tensor:
        """Return one canonical batch in one space, float32; as `encode_in`.

        Raises:
            SensoriumError: when the encoder has nothing in that space.
        """
        made = self.encode_in([space], modality, batch)
        if space not in made:
            raise SensoriumError(f"The encoder of '{modality}' returns no {space}.")
        return made[space]

    @torch.inference_mode()
    def encode_in(self, spaces: Collection[str], modality: str, batch: Batch) -> dict[str, Tensor]:
        """Return one canonical batch in several spaces, in evaluation mode, on the model's device.

        On a GPU encoders run in the precision of the training (`train.precision`), where `auto` is bf16 mixed
        precision; on the CPU they run in fp32.

        Args:
            spaces: "features" for pooled features, "embedding" for the space that the objective compares in, "layers"
                and "tokens" as `Learner.encode` returns them.
            modality: the batch's.
            batch: B examples, on any device.

        Returns:
            Space -> float32 (B, D); in "layers" (B, L, D), in "tokens" (B, T, D), left out where the encoder has none.

        Raises:
            SensoriumError: for a space that there is not.
        """
        for space in spaces:
            if space not in SPACES:
                problem = f"There is no space '{space}'"
                raise SensoriumError(not_found(problem, space, SPACES, f"known: {', '.join(SPACES)}"))
        with self._evaluating(), evaluation_autocast(self.plan.recipe.train.precision, self.device):
            encoded = self.learner.encode(modality, batch.to(self.device, non_blocking=True), spaces)
        return {space: x.float() for space, x in encoded.items()}

    @torch.inference_mode()
    def score(self, records: RecordBatch) -> dict[str, Tensor] | None:
        """Return what each record of a batch costs under the objective, in fp32; see `Objective.score`."""
        with self._evaluating():
            rng = generator("score", device=self.device)
            on_device = records.to(self.device, non_blocking=True)
            return self.learner.score(make_views(on_device, self.plan.generators, rng))

    @torch.inference_mode()
    def token_targets(self, modality: str, batch: Batch) -> Tensor:
        """Return what the tokens of one canonical batch are, as `Learner.token_targets`."""
        with self._evaluating():
            return self.learner.token_targets(View(batch.to(self.device, non_blocking=True), modality=modality))

    @torch.inference_mode()
    def predict_tokens(self, records: RecordBatch, sources: Collection[str], target: str) -> Tensor | None:
        """Return the tokens of one modality of the records that have it, predicted from others in full.

        Args:
            records: a batch, of which some records have the target.
            sources: the modalities that are shown; those that no record of the batch has are left out.
            target: the modality that is predicted.

        Returns:
            As `Learner.predict_tokens`, in fp32; None for objectives that cannot.
        """
        there = [name for name in sources if name in records.batches]
        views = {
            name: [View(records.batches[name].to(self.device), modality=name, present=records.present[name])]
            for name in (*there, target)
        }
        with self._evaluating(), evaluation_autocast(self.plan.recipe.train.precision, self.device):
            made_NTP = self.learner.predict_tokens(views, there, target)
        return None if made_NTP is None else made_NTP.float()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Put the learner into evaluation mode; a model in training mode returns to it."""
        was_training = self.learner.training
        self.learner.eval()
        try:
            yield
        finally:
            self.learner.train(was_training)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json`, from which `Model.open` makes the model again.

        Adapters are merged into the weights, and lie beside them in `adapters.safetensors`.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.learner.state_dict().items()}
        weights, adapters = merged_weights(state), self.adapters or factors_of(state)
        config = {
            "recipe": self.plan.recipe.plain(),
            "modalities": {name: modality.state() for name, modality in self.plan.modalities.items()},
        }
        text = json.dumps(config, indent=1, ensure_ascii=False)
        if adapters:
            write_atomically(folder / ADAPTERS, lambda path: save_file(adapters, path))
        write_atomically(folder / WEIGHTS, lambda path: save_file(_unshared(weights), path))
        write_atomically(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def open(cls, folder: Path, extensions: Extensions) -> Model:
        """Return the model that `save` wrote.

        Raises:
            RunError: when the files are not there, or do not fit each other.
        """
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            weights = load_file(folder / WEIGHTS)
            adapters = load_file(folder / ADAPTERS) if (folder / ADAPTERS).exists() else {}
        except FileNotFoundError as error:
            raise RunError(_without_model(folder)) from error
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(f"The model in {folder} cannot be read: {' '.join(str(error).split())}.") from error
        plan = make_plan(validate(config["recipe"], str(folder)), extensions)
        model = cls.untrained(plan, config["modalities"].get).load_weights(weights, str(folder))
        model.adapters = adapters
        return model

    @classmethod
    def untrained(cls, plan: Plan, state_of: Callable[[str], dict[str, Any] | None], adapted: bool = False) -> Model:
        """Return the model with random first weights, its modalities restored to what they learned.

        Args:
            plan: the parts.
            state_of: modality name -> what it learned.
            adapted: with the adapters that a training has, in place of plain encoders.
        """
        for name, modality in plan.modalities.items():
            modality.load_state(state_of(name) or {})
        return cls(plan, plan.learner(pretrained=False, adapted=adapted))

    def merge_adapters(self) -> Model:
        """Merge the adapters of the encoders, which are plain afterwards; returns the model itself."""
        self.adapters = self.adapters or factors_of(self.learner.state_dict())
        merge(self.learner)
        return self

    def load_weights(self, weights: dict[str, Tensor], origin: str) -> Model:
        """Put weights into the learner; returns the model itself.

        Raises:
            RunError: when they are of another architecture.
        """
        try:
            self.learner.load_state_dict(weights)
        except RuntimeError as error:
            different = mismatch(self.learner.state_dict(), weights)
            raise RunError(f"The weights of {origin} do not fit its recipe: {different}.") from error
        return self


def joined_rows(parts: Sequence[Tensor]) -> Tensor:
    """Return features (N, D) one behind the other; tokens (N, T, D) of fewer than the most with nan behind them."""
    if parts[0].ndim == 3:
        longest = max(x_NTD.shape[1] for x_NTD in parts)
        parts = [nn.functional.pad(x_NTD, (0, 0, 0, longest - x_NTD.shape[1]), value=torch.nan) for x_NTD in parts]
    return torch.cat(list(parts))


def several(values: Any) -> Sequence[Any]:
    """Return raw values as a sequence: one value that is no sequence of values becomes a list of it."""
    if hasattr(values, "shape") and not isinstance(values, memoryview):  # an array, a tensor, a column
        return values if len(values.shape) else [values]
    has_positions = hasattr(values, "__len__") and hasattr(values, "__getitem__") and not hasattr(values, "keys")
    return [values] if isinstance(values, str | bytes | bytearray | memoryview) or not has_positions else values


def _unshared(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with shared memory cloned, as safetensors requires."""
    seen: set[int] = set()
    result = {}
    for name, tensor in weights.items():
        result[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return result


def _without_model(folder: Path) -> str:
    """Return what to do about a run that has no model: a sentence."""
    run = folder.parent
    if Run(run).is_begun and not Run(run).has_checkpoint:
        return (
            f"{folder} has no model, and the run no checkpoint: wait for its first, or, where its training has "
            f"stopped, start it anew by the same `sensorium train` command with --run-dir {run} --resume auto."
        )
    return (
        f"{folder} has no model: a run has one when its training is finished; `sensorium train --resume {run}` "
        "continues it, and --checkpoint last takes what it has so far."
    )
