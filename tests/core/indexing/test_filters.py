"""Conditions of an index, by the names that their user knows."""

import pytest

from sensorium.indexing.filters import equal, names_of_columns, with_stored_names

STORED = {
    "id": "id",
    "split": "split",
    "label.category": "label_category",
    "label.label": "label_label",
    "label.split": "label_split",
    "label.Skin tone": "label_Skin tone",
    "label.not": "label_not",
    "caption.text": "caption_text",
}


@pytest.mark.parametrize(
    ("where", "stored"),
    [
        ("category = 'cat' AND split = 'train'", "`label_category` = 'cat' AND `split` = 'train'"),
        ("label = 'cat'", "`label_label` = 'cat'"),
        ("label.category='category'", "`label_category`='category'"),
        ("label.split = 'a' and split = 'b'", "`label_split` = 'a' and `split` = 'b'"),
        ('`Skin tone` > 3 OR "Skin tone" IS NULL', "`label_Skin tone` > 3 OR `label_Skin tone` IS NULL"),
        ("not caption.text LIKE '%it''s category%'", "not `caption_text` LIKE '%it''s category%'"),
        ("label_category IN ('a', 'b')", "`label_category` IN ('a', 'b')"),
        ("other = 1", "other = 1"),
    ],
)
def test_names_become_those_that_are_stored_and_texts_stay(where, stored):
    assert with_stored_names(where, names_of_columns(STORED)) == stored


def test_values_are_written_as_sql_has_them():
    assert equal("a", "it's") == "`a` = 'it''s'"
    assert [equal("a", value) for value in (3, 0.5, True, None)] == [
        "`a` = 3",
        "`a` = 0.5",
        "`a` = true",
        "`a` IS NULL",
    ]
