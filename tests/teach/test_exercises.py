"""lab/teach/exercises.py: each right answer passes its check and equals what the lab, torch or scipy computes."""

import pytest
import torch

import lab
from lab import teach
from lab.teach.exercises import EXERCISES


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right(name):
    found = teach.check(name, EXERCISES[name].right)
    assert found.passed and "✗" not in found
    # but it counts as solved only if it is the learner's own
    assert not found and ": the lab's own answer" in found and "Write one yourself" in found


def test_the_labs_answer_behind_a_name_does_not_count_either():
    assert teach.check("pcgrad", lambda G, orders: teach.EXERCISES["pcgrad"].right(G, orders)).passed
    assert not teach.check("pcgrad", lambda G, orders: teach.EXERCISES["pcgrad"].right(G, orders))


def test_pcgrad_is_the_labs():
    for seed in range(20):
        g = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        again = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(4, generator=again).tolist() for _ in range(4)]
        wanted = lab.COMBINERS["pcgrad"](g @ g.T, torch.Generator().manual_seed(seed), {})
        torch.testing.assert_close(EXERCISES["pcgrad"].right(g @ g.T, orders), wanted)


def test_gse_takes_the_updates_of_the_recipe_each_at_the_weights_just_moved():
    p, gradients, surgery, lr = EXERCISES["gse"].cases["two tasks that conflict"]
    moved = p.double()
    for update in lab.RECIPES["gse"].updates:
        g = gradients(moved)
        moved = moved - lr * lab.COMBINERS[update](g @ g.T, torch.Generator(), {}) @ g
    torch.testing.assert_close(EXERCISES["gse"].right(p, gradients, surgery, lr), moved.float())


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
    from lab.results.significance import interval
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
    from lab.results.significance import mcnemar

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
