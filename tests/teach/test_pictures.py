"""lab/teach/pictures.py: lines, arrows and sliders."""

import ipywidgets
import torch

from lab import teach
from lab.teach.scale import SCALE


def test_a_slider_draws_again_and_is_a_picture_where_widgets_do_not_run(monkeypatch):
    drawn = []

    def draw(angle):
        drawn.append(angle)
        return teach.arrows({"g": (1, angle)}, "a vector")

    monkeypatch.setenv(SCALE, "full")
    assert teach.slider(draw, angle=(0, 180, 120)).data[0].y == (0, 120)
    monkeypatch.delenv(SCALE)
    box = teach.slider(draw, angle=(0, 180, 120))
    assert isinstance(box, ipywidgets.VBox)
    box.children[0].value = 90
    assert drawn[-1] == 90


def test_a_plot_has_one_line_per_name():
    figure = teach.plot([1, 2], {"a": torch.tensor([1.0, 2.0]), "b": [2, 3]}, "title", "x", "y", log=True)
    assert [line.name for line in figure.data] == ["a", "b"] and figure.layout.yaxis.type == "log"
    assert len({line.line.color for line in figure.data}) == 2
