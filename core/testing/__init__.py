"""The conformance kit: what every modality, encoder, view generator, objective, source and evaluator must hold to.

A plugin's own tests run it in three lines:

    @pytest.mark.parametrize("check", checks_of("my-plugin"), ids=str)
    def test_conformance(check):
        check()

and `sensorium plugin check my-plugin` prints it as a table.
"""

from sensorium.testing.kit import Check, Row, check_plugin, checks_of, yield_checks
from sensorium.testing.subject import Case, Failure

__all__ = ["Case", "Check", "Failure", "Row", "check_plugin", "checks_of", "yield_checks"]
