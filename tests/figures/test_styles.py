"""Styles: a recipe has its own, any other line one that follows from its label, and neither depends on other lines."""

import lab
from lab.experiment import KNOWN
from lab.figures.styles import COLOURS, DASHES, MARKERS, STYLES, rank, style_of, styles_of


def test_each_recipe_and_control_has_a_style_that_no_other_has():
    assert set(STYLES) == set(KNOWN) and list(STYLES)[:16] == sorted(lab.RECIPES, key=rank)
    for part in (lambda style: (style.colour, style.dash), lambda style: (style.colour, style.marker)):
        assert len({part(style) for style in STYLES.values()}) == len(STYLES)  # lines; points, which have no dash
    assert len({STYLES[name].marker for name in lab.RECIPES}) == len(lab.RECIPES)
    for style in STYLES.values():  # of the palette, which has no gray
        assert style.colour in COLOURS and style.dash in DASHES and style.marker in MARKERS


def test_the_style_of_a_line_does_not_depend_on_the_others():
    names = ["gse", "fairgrad", "mine", *(f"baseline (lr={i})" for i in range(20)), "\ud800"]
    together = styles_of(names)
    assert all(styles_of([name]) == {name: together[name]} for name in names)
    assert together["gse"] == STYLES["gse"] and len(set(together.values())) == len(names)
    assert style_of("mine") == ("#D55E00", "dot", "star-diamond")  # in every process
    assert not {style_of(f"{name} (lr={i})") for name in STYLES for i in range(50)} & set(STYLES.values())


def test_recipes_come_in_the_order_of_table_1_then_controls_then_all_others():
    names = ["mine", "fairgrad", "smart", "another", "baseline"]
    assert sorted(names, key=rank) == ["baseline", "smart", "fairgrad", "another", "mine"]
