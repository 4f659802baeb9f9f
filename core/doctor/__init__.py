"""What this machine is, how fast it is for a recipe, and what to change: `sensorium doctor`."""

from sensorium.doctor.advice import Advice, advise
from sensorium.doctor.machine import Machine, inspect_machine
from sensorium.doctor.rates import Rates, measure

__all__ = ["Advice", "Machine", "Rates", "advise", "inspect_machine", "measure"]
