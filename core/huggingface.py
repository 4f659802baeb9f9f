"""`import sensorium.huggingface`: encoders as models that `transformers.AutoModel` opens.

Of an encoder that transformers has no class for, `sensorium export RUN FOLDER --format huggingface` writes a folder of
`SensoriumModel`; this import registers the class, and no code of the folder is run.
"""

from __future__ import annotations

from sensorium.exporters.hub_model import SensoriumConfig as SensoriumConfig, SensoriumModel as SensoriumModel

__all__ = ["SensoriumConfig", "SensoriumModel"]
