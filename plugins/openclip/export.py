"""The exporter to open_clip."""

from __future__ import annotations

import json
from typing import Literal

import torch
from safetensors.torch import save_file

from sensorium import Exporter, SensoriumError, Verification, largest_difference

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
"""The file names that open_clip expects."""
TEXTS = ("a red square", "the blue circle, twice", "x")
"""Texts on which both are compared."""
_TOLERANCES = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest difference as a fraction of the largest embedding, by the dtype of the written weights."""


class OpenClip(Exporter):
    """Writes a folder from which open_clip makes the model, `local-dir:PATH`, with the same embeddings.

    The run has one encoder that is a vision tower of open_clip and one that is a text tower; each declares it
    in `libraries`. The objective's linear map to the joint space is folded into the towers' last projections. Its
    `logit_parameters` become the model's.

    Args:
        dtype: of the weights in the file: float16 and bfloat16 take half the space, and open_clip reads them as
            float32 unless it is given another precision.
    """

    def __init__(self, dtype: Literal["float32", "float16", "bfloat16"] = "float32") -> None:
        self.dtype = getattr(torch, dtype)

    library = "open_clip"

    def export(self, model, folder):
        """Write the folder."""
        objective = model.learner.objective
        sides, seen = {}, set()
        for name, encoder in model.learner.encoders.items():
            if "open_clip" not in encoder.libraries or id(encoder) in seen:
                continue
            seen.add(id(encoder))
            side = encoder.tower_of("open_clip", _joint_map(objective, name, encoder))
            if side["side"] in sides:
                raise SensoriumError(f"The run has two {side['side']} towers of open_clip; its models have one.")
            sides[side["side"]] = side
        if len(sides) != 2:
            kinds = ", ".join(f"{name}: {type(e).__name__}" for name, e in model.learner.encoders.items())
            raise SensoriumError(
                "The format open-clip is for runs whose encoders are the two towers of an open_clip architecture "
                f"(open-clip-image and open-clip-text), not {kinds}; the format 'encoders' takes any."
            )
        vision, text = sides["vision"], sides["text"]
        config = {
            "embed_dim": vision["width"],
            "vision_cfg": vision["config"],
            "text_cfg": text["config"],
            "custom_text": True,
        }
        if vision["quick_gelu"] != text["quick_gelu"]:
            raise SensoriumError("One tower was made for QuickGELU and the other not; open_clip takes one for both.")
        if vision["quick_gelu"]:
            config["quick_gelu"] = True
        weights = {f"visual.{key}": tensor for key, tensor in vision["weights"].items()}
        weights |= {f"text.{key}": tensor for key, tensor in text["weights"].items()}
        learned = objective.logit_parameters()
        for theirs, ours in (("logit_scale", "log_scale"), ("logit_bias", "bias")):
            if ours in learned:
                weights[theirs] = learned[ours]
        weights.setdefault("logit_scale", torch.tensor(1 / 0.07).log())
        if "logit_bias" in weights:
            config["init_logit_bias"] = float(weights["logit_bias"])
        settings = {"model_cfg": config, "preprocess_cfg": vision["preprocess"]}
        (folder / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        save_file({key: self._written(tensor.detach().cpu()) for key, tensor in weights.items()}, folder / WEIGHTS)
        return (
            f'model, preprocess = open_clip.create_model_from_pretrained("local-dir:{folder}")\n'
            f'tokenizer = open_clip.get_tokenizer("local-dir:{folder}")'
        )

    def verify(self, model, folder):
        """Create the model with open_clip, and show it random images and texts as it prepares them."""
        import open_clip
        from PIL import Image

        theirs, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        tokenizer, tolerance = open_clip.get_tokenizer(f"local-dir:{folder}"), _TOLERANCES[self.dtype]
        names = {}
        for name, encoder in model.learner.encoders.items():
            if "open_clip" in encoder.libraries:
                names[encoder.tower_of("open_clip", torch.eye(encoder.dim))["side"]] = name
        size = model.plan.modalities[names["vision"]].size
        noise = torch.randint(256, (3, *size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        samples = [Image.fromarray(pixels.numpy()) for pixels in noise]
        ours = model.embed(**{names["vision"]: samples, names["text"]: list(TEXTS)})
        theirs.eval()
        with torch.no_grad():
            images = theirs.encode_image(torch.stack([preprocess(image) for image in samples]))
            texts = theirs.encode_text(tokenizer(list(TEXTS)))
        vision = model.learner.encoder(names["vision"])
        found = {
            "pixels of images of other shapes": model.plan.modalities[names["vision"]].compare(
                preprocess, vision.mean, vision.std
            ),
            "images": largest_difference(ours[names["vision"]], images, "images", tolerance),
            "texts": largest_difference(ours[names["text"]], texts, "texts", tolerance),
        }
        takes = [
            "Its own transform prepares images of Pillow, and its own tokenizer texts; embeddings are of the joint "
            "space, to which the map of the objective is folded into the towers."
        ]
        modality = model.plan.modalities[names["vision"]]
        if modality.fit_to_size == "crop":
            takes.append(modality.cropping_note)
        if size[0] != size[1] and modality.fit_to_size == "crop":
            takes.append("To an oblong size it resizes by bicubic interpolation, and the run by bilinear.")
        return Verification("open_clip_torch", found, takes)

    def _written(self, tensor):
        return tensor.to(self.dtype if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()


def _joint_map(objective, name, encoder):
    """Return the objective's map from features to the joint space as a matrix (E, D).

    Raises:
        SensoriumError: when it is not linear.
    """
    map_ED = objective.joint_map(name, encoder)
    if map_ED is None:
        raise SensoriumError(
            f"The objective maps '{name}' to the joint space by more than a linear map; open_clip has no layer for it."
        )
    return map_ED
