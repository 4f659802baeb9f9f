import numpy as np

from sensorium.checking.facts import FactTable, Flags, Numbers, Words


def test_facts_are_summed_up_by_their_kind_over_all_chunks():
    table = FactTable()
    for start in (0, 10):
        table.add("width", range(start, start + 10))
        table.add("cropped", [True, False])
        table.add("format", ["PNG", "JPEG", "JPEG"])
    numbers, flags, words = table.summaries().values()
    assert (numbers.least, numbers.median, numbers.most, numbers.counts) == (0, 9.5, 19, {})
    assert len(numbers.histogram) == 16
    assert sum(numbers.histogram) == 20
    assert flags == Flags(2, 4)
    assert words == Words({"JPEG": 4, "PNG": 2})
    assert list(table.summaries()) == ["width", "cropped", "format"]


def test_few_distinct_numbers_are_counted():
    assert Numbers.of(np.array([8000.0, 8000.0, 16000.0])).counts == {8000.0: 2, 16000.0: 1}
    assert Numbers.of(np.full(3, 2.5)).least == 2.5
