"""Exercises know right from wrong and say why; the shown source is what runs; both scales are what they say."""

import inspect

import ipywidgets
import pytest
import torch

import lab
from lab import teach
from lab.exercises import EXERCISES
from lab.missteps import MISSTEPS

MISTAKES = [(name, words) for name in EXERCISES for words in MISSTEPS[name]]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right(name):
    found = teach.check(name, EXERCISES[name].right)
    assert found.passed and found and "✗" not in found and "all right" in found


@pytest.mark.parametrize(("name", "words"), MISTAKES)
def test_a_typical_mistake_is_told_in_its_own_words(name, words):
    found = teach.check(name, MISSTEPS[name][words])
    assert not found and words in found and "✗" in found


def test_every_exercise_knows_three_mistakes_and_keeps_its_cases():
    for name, exercise in EXERCISES.items():
        assert len(MISSTEPS[name]) >= 3, name
        before = repr(exercise.cases)
        teach.check(name, exercise.right)
        assert repr(exercise.cases) == before


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_function_an_exception_and_a_wrong_kind_are_named(name):
    def unwritten(*given):
        ...

    def raises(*given):
        raise ZeroDivisionError("oh")

    assert "returns None: is a `return` missing?" in teach.check(name, unwritten)
    assert "it raises ZeroDivisionError: oh" in teach.check(name, raises)
    assert "is right" in teach.check(name, lambda *given: "a text")
    assert "raises TypeError" in teach.check(name, lambda: 0)


def test_a_wrong_shape_and_a_changed_argument_are_named():
    right = EXERCISES["mean_pool"].right
    found = teach.check("mean_pool", lambda hidden, mask: right(hidden, mask).T)
    assert "its shape is (2, 1); (1, 2) is right" in found

    def spoils(hidden, mask):
        answer = right(hidden, mask)
        hidden.zero_()
        return answer

    found = teach.check("mean_pool", spoils)
    assert not found and "changes its argument number 1 in place" in found


def test_an_unknown_mistake_gets_the_case_and_both_numbers():
    found = teach.check("overall_score", lambda sst, qqp, sts: 0.25)
    assert "it returns 0.25; 0.6412 is right" in found and "sst = 0.512, qqp = 0.731, sts = 0.361" in found


def test_an_exception_that_is_no_typical_mistakes_is_told_as_it_is():
    found = teach.check("last_pool", lambda hidden, lengths: [][9])
    assert "it raises IndexError: list index out of range" in found and "cumsum" not in found


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(lab.LabError, match="did you mean 'pcgrad'"):
        teach.check("pcgradd", max)
    with pytest.raises(lab.LabError, match="did you mean"):
        teach.solution("attentoin")


# ---- right answers are what the lab runs -----------------------------------------------------------------------------


def test_pcgrad_is_the_labs():
    for seed in range(20):
        g = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        again = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(4, generator=again).tolist() for _ in range(4)]
        wanted = lab.COMBINERS["pcgrad"](g @ g.T, torch.Generator().manual_seed(seed), {})
        torch.testing.assert_close(EXERCISES["pcgrad"].right(g @ g.T, orders), wanted)


def test_adamw_is_the_labs():
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    mine, m, v = p.detach().clone(), torch.zeros(2), torch.zeros(2)
    optimizer = lab.AdamW([p], lr=0.1, eps=1e-2, weight_decay=0.3)
    for t in (1, 2, 3):
        p.grad = torch.tensor([0.5, 0.1 * t])
        optimizer.step()
        mine, m, v = EXERCISES["adamw"].right(mine, p.grad, m, v, t, 0.1, (0.9, 0.999), 1e-2, 0.3)
    torch.testing.assert_close(mine, p.detach())


def test_attention_is_torchs():
    q, k, v, mask = EXERCISES["attention"].cases["three tokens, the last is padding"]
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(3, 3))
    torch.testing.assert_close(EXERCISES["attention"].right(q, k, v, mask), wanted)


def test_the_other_answers_are_the_labs():
    from lab.batches import SAMPLERS
    from lab.evaluate import overall_score
    from lab.significance import interval
    from lab.smart import DIVERGENCES, library
    from lab.tasks import Cosine2d1

    z, w = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.5])
    p, q = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    answer = {name: exercise.right for name, exercise in EXERCISES.items()}
    torch.testing.assert_close(answer["bernoulli_kl"](z, w), DIVERGENCES["qqp"](z, w))
    torch.testing.assert_close(answer["symmetric_kl"](p, q), DIVERGENCES["sst"](p, q))
    torch.testing.assert_close(answer["smart_step"](p, q, 0.1, 1e-5), library(p, q, 0.1, 1e-5))
    assert answer["interval"]([0.5, 0.6, 0.8]) == pytest.approx(interval([0.5, 0.6, 0.8]))
    assert answer["overall_score"](0.5, 0.7, 0.3) == pytest.approx(overall_score(0.5, 0.7, 0.3))
    assert answer["overall_score"](0.5, 0.7, None) is None is overall_score(0.5, 0.7, None)
    head = Cosine2d1(5).eval()
    torch.testing.assert_close(head.linear(answer["cosine_features"](p, q)).squeeze(-1), head(p, q))
    sizes = {"sst": 8544, "qqp": 120674, "sts": 6040}

    class Asked:
        def choice(self, tasks, size, p):
            self.p = p
            return torch.tensor([0])

    asked = Asked()
    SAMPLERS["annealed"](sizes, 4, 10, asked)
    assert answer["annealed"](list(sizes.values()), 4, 10).tolist() == pytest.approx(asked.p.tolist())


def test_mean_pooling_is_the_labs():
    from lab.bert import Layout
    from lab.tasks import mean

    hidden, mask = EXERCISES["mean_pool"].cases["two sentences, the second is padded"]
    packed = torch.cat([hidden[0], hidden[1, :2]])
    torch.testing.assert_close(EXERCISES["mean_pool"].right(hidden, mask), mean(None, packed, Layout.of([4, 2])))


def test_mcnemar_is_the_labs():
    from lab.significance import mcnemar

    for b, c in ((3, 0), (2, 9), (4, 4), (0, 0), (20, 31)):
        a, other = [1] * b + [0] * c + [1], [0] * b + [1] * c + [1]
        assert EXERCISES["mcnemar"].right(b, c) == pytest.approx(mcnemar(a, other).p)


def test_a_cross_encoders_input_is_the_tokenizers():
    tokenizer = lab.load_encoder("minilm")[1]
    texts = "A man plays.", "Somebody makes some music."
    joined = tokenizer(*texts)
    found = EXERCISES["cross_input"].right(*tokenizer(list(texts), padding=True)["input_ids"])
    assert found == (joined["input_ids"], joined["token_type_ids"])


def test_the_last_token_is_where_a_sentence_ends():
    hidden, lengths = EXERCISES["last_pool"].cases["three sentences, of 2, 1 and 3 tokens"]
    ends = torch.stack([part[-1] for part in hidden.split(lengths.tolist())])
    assert torch.equal(EXERCISES["last_pool"].right(hidden, lengths), ends)


def test_pearson_is_scipys():
    from scipy.stats import pearsonr

    x, y = torch.rand(2, 20, generator=torch.Generator().manual_seed(2))
    assert EXERCISES["pearson"].right(x, y) == pytest.approx(pearsonr(x.double(), y.double()).statistic)


# ---- source, scales, pictures ----------------------------------------------------------------------------------------


def test_the_source_shown_is_what_runs_with_its_place():
    shown = teach.show(lab.COMBINERS["pcgrad"], lab.smart.Smart)
    assert inspect.getsource(lab.COMBINERS["pcgrad"]).rstrip() in shown
    assert "lab/gradients.py, lines " in shown and "class Smart:" in shown
    assert "```python" in shown._repr_mimebundle_()["text/markdown"] and repr(shown) == str(shown)
    with pytest.raises(lab.LabError, match="no source"):
        teach.show(3)


def test_a_solution_is_folded_away_and_escaped():
    page = teach.solution("pearson")._repr_mimebundle_()["text/html"]
    assert page.startswith("<details><summary>") and "-&gt; float | None" in page
    assert "&lt;" not in teach.check("pearson", lambda x, y: None) and "<pre>" in teach.check("pearson", max).page


def test_what_a_learner_raises_does_not_act_as_html():
    def raises(*given):
        raise ValueError("<script>")

    assert "&lt;script&gt;" in teach.check("interval", raises).page


def test_one_variable_makes_everything_small(monkeypatch):
    sample = lab.load_data()
    monkeypatch.delenv(teach.SCALE, raising=False)
    full = teach.experiment("gse_3x", sample, pooling="mean")
    assert (full.protocol, full.pooling, full.name, teach.scaled(3, 1)) == ("smoke", "mean", "gse_3x", 3)
    monkeypatch.setenv(teach.SCALE, "small")
    small = teach.experiment("gse_3x", sample, epochs=9)
    assert (small.epochs, small.iterations, teach.scaled(3, 1)) == (1, 2, 1)
    with pytest.raises(lab.LabError, match="did you mean 'gse'"):
        teach.experiment("gsee", sample)
    with pytest.raises(lab.LabError, match="did you mean 'pooling'"):
        teach.experiment("gse", sample, poolin="mean")


def test_a_slider_draws_again_and_is_a_picture_where_widgets_do_not_run(monkeypatch):
    drawn = []

    def draw(angle):
        drawn.append(angle)
        return teach.arrows({"g": (1, angle)}, "a vector")

    monkeypatch.setenv(teach.SCALE, "full")
    assert teach.slider(draw, angle=(0, 180, 120)).data[0].y == (0, 120)
    monkeypatch.delenv(teach.SCALE)
    box = teach.slider(draw, angle=(0, 180, 120))
    assert isinstance(box, ipywidgets.VBox)
    box.children[0].value = 90
    assert drawn[-1] == 90


def test_a_plot_has_a_line_a_name():
    figure = teach.plot([1, 2], {"a": torch.tensor([1.0, 2.0]), "b": [2, 3]}, "title", "x", "y", log=True)
    assert [line.name for line in figure.data] == ["a", "b"] and figure.layout.yaxis.type == "log"
    assert len({line.line.color for line in figure.data}) == 2
