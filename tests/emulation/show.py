"""What the emulated device finds in a pair: its errors, and what makes the host wait in its second step.

    python -m tests.emulation.show simclr image
    python -m tests.emulation.show clip image+text

An objective alone, or no argument, shows all of its pairs, or all pairs, one line each.
"""

import sys
import time

import torch

from sensorium.errors import SensoriumError
from sensorium.testing.emulation import emulate_steps, table
from tests.golden.pairs import Unserved, learner_and_generators, pairs, records_of


def emulated(objective, names, steps=2):
    """Return what came of a pair's first steps on the emulated device; raises Unserved where it has no meaning."""
    try:
        learner, generators = learner_and_generators(objective, names)
        return emulate_steps(learner, generators, [records_of(names, step) for step in range(steps)])
    except SensoriumError as reason:
        raise Unserved(str(reason)) from reason


def main(objective=None, modalities=None):
    """Print the findings of one pair, or a line for each of several."""
    torch.set_num_threads(1)
    for name, names in pairs():
        if objective not in (None, name) or modalities not in (None, "+".join(names)):
            continue
        start = time.perf_counter()
        try:
            found = emulated(name, names)
        except Unserved:
            continue
        except Exception as error:
            if modalities:
                raise
            print(f"{name} {'+'.join(names)}: {type(error).__name__}: {str(error).splitlines()[0][:150]}", flush=True)
            continue
        counts, seconds = [len(each) for each in found.synchronizations], time.perf_counter() - start
        print(
            f"{name} {'+'.join(names)}: synchronizations {counts}, losses {found.losses}, {seconds:.1f} s", flush=True
        )
        if modalities:
            print(table(found.synchronizations[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
