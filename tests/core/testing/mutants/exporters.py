"""Exporters with one fault each."""

from sensorium import Exporter
from tests.core.testing.mutants import caught_by


class Names(Exporter):
    """Writes the names of the modalities."""

    def export(self, model, folder):
        (folder / "names.txt").write_text("\n".join(model.modalities))
        return "print(open('names.txt').read())"


@caught_by("writes what its lines load")
class DoesNothing(Names):
    """Writes nothing."""

    def export(self, model, folder):
        return "pass"


@caught_by("writes what its lines load")
class WritesElsewhere(Names):
    """Writes into the working folder."""

    def export(self, model, folder):
        print(model)
        return "pass"
