"""Styles: recipes have their own, other lines take free ones."""

import lab
from lab.figures.styles import MARKERS, STYLES, rank, styles_of


def test_each_recipe_has_a_style():
    assert {name for name in lab.RECIPES if name in STYLES} == set(STYLES) and len(STYLES) == 16
    assert len({style[:2] for style in STYLES.values()}) == len({style.marker for style in STYLES.values()}) == 16
    assert {style.marker for style in STYLES.values()} <= set(MARKERS)


def test_other_lines_take_styles_that_are_free():
    found = styles_of(["gse", *(f"baseline (lr={i})" for i in range(20))])
    assert len({style[:2] for style in found.values()}) == len(found) == 21 and found["gse"] == STYLES["gse"]


def test_recipes_come_in_the_order_of_table_1_and_before_all_others():
    assert sorted(["mine", "smart", "another", "baseline"], key=rank) == ["baseline", "smart", "another", "mine"]
