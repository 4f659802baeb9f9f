import pytest

from sensorium.testing import checks_of


@pytest.mark.parametrize("check", checks_of("sensorium-tabular"), ids=str)
def test_conformance(check):
    check()
