"""Weights that encoders start from: files of other libraries, folders, runs.

`modalities.NAME.weights` of a recipe names them; in a loop of one's own:

```python
from sensorium.weights import load_weights

report = load_weights(encoder, "dinov2_vits14.safetensors")
print(report.missing, report.unexpected)
```
"""

from sensorium.weights.files import folder_of, read_weights
from sensorium.weights.loading import WeightsReport, load_weights

__all__ = ["WeightsReport", "folder_of", "load_weights", "read_weights"]
