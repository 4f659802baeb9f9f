"""The conformance kit: contract tests for modalities, encoders, view generators, objectives, sources and evaluators.

A plugin's own tests run it in three lines:

    @pytest.mark.parametrize("check", checks_of("my-plugin"), ids=str)
    def test_conformance(check):
        check()

and `sensorium plugin check my-plugin` prints it as a table.
"""

from sensorium.testing.checked_part import CheckedPart, Failure
from sensorium.testing.kit import Check, CheckResult, check_plugin, checks_of, yield_checks

__all__ = ["Check", "CheckResult", "CheckedPart", "Failure", "check_plugin", "checks_of", "yield_checks"]
