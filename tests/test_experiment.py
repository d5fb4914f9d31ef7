"""An experiment is a value, recipes mean what PAPER.md's table says, and protocols keep the paper's proportions."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import lab
from lab.experiment import CONTROLS, LAPTOP_SCALES, TABLE1, Experiment, default_protocol, departs
from lab.smart import Smart
from lab.tasks import QQP_HEADS
from lab.train import kept_share, run_name

GSE = ("pcgrad", "sum")
TABLE = {  # updates, STS head, pooling, SMART, iterations
    "baseline": (("separate",), "linear", "cls", False, 755),
    "multitask": (("sum",), "linear", "cls", False, 755),
    "gradient_surgery": (("pcgrad",), "linear", "cls", False, 755),
    "gse": (GSE, "linear", "cls", False, 755),
    "cosine_embedding": (GSE, "cosine_embedding", "cls", False, 755),
    "cosine_d": (GSE, "cosine_d", "cls", False, 755),
    "cosine_2d1": (GSE, "cosine_2d1", "cls", False, 755),
    "cosine_2d1_mean": (GSE, "cosine_2d1", "mean", False, 755),
    "smart": (("sum",), "linear", "cls", True, 755),
    "smart_gse": (GSE, "linear", "cls", True, 755),
    "gse_3x": (GSE, "linear", "cls", False, 2265),
    "cosine_2d1_3x": (GSE, "cosine_2d1", "cls", False, 2265),
    "smart_3x": (("sum",), "linear", "cls", True, 2265),
}


def test_json_round_trip_and_replace():
    experiment = dataclasses.replace(lab.RECIPES["multitask"], pooling="mean", updates=("sum", "sum"), eval_qqp=1000)
    assert Experiment.from_json(experiment.to_json()) == experiment
    assert hash(experiment) == hash(Experiment.from_json(experiment.to_json()))


def test_recipes_are_the_papers():
    baseline, multitask = lab.RECIPES["baseline"], lab.RECIPES["multitask"]
    assert baseline.updates == ("separate",) and multitask.updates == ("sum",)
    for recipe in (baseline, multitask):
        assert (recipe.iterations, recipe.epochs, recipe.batch_size, recipe.lr) == (755, 10, 8, 1e-5)
        assert (recipe.pooling, recipe.sts_head, recipe.seed) == ("cls", "linear", 11711)
        assert (recipe.warmup, recipe.weight_decay, recipe.dropout) == (0, 0.0, 0.1)
        assert recipe.encoder == "bert-base-uncased"


def test_laptop_keeps_the_proportions():
    once = lab.PROTOCOLS["laptop"](lab.RECIPES["baseline"])
    thrice = lab.PROTOCOLS["laptop"](dataclasses.replace(lab.RECIPES["baseline"], iterations=2265))
    assert once.scale == 1 / 16 and once.iterations == once.epoch_1x == 47 and once.encoder == "minilm"
    assert thrice.iterations == 3 * once.iterations  # not round(2265 / 16) = 142
    assert thrice.epoch_1x == once.epoch_1x  # and the same training rows
    assert (once.eval_train, once.eval_qqp, once.epochs, once.batch_size) == (200, 1000, 10, 8)
    assert once.end_qqp == 4000


def test_a_scale_set_before_the_protocol_is_read_by_it():
    half = lab.PROTOCOLS["laptop"](dataclasses.replace(lab.RECIPES["baseline"], scale=0.5))
    assert (half.scale, half.iterations) == (0.5, round(755 * 0.5))


def test_paper_protocol_is_the_recipe():
    recipe = lab.RECIPES["multitask"]
    assert lab.PROTOCOLS["paper"](recipe) == dataclasses.replace(recipe, scale=1.0)


def test_smoke_scores_at_most_200_rows():
    smoke = lab.PROTOCOLS["smoke"](lab.RECIPES["baseline"])
    assert smoke.eval_rows == 200 and smoke.eval_train <= 200 and smoke.encoder == "minilm"


@pytest.mark.parametrize(("setting", "message"), [
    ("poolin=mean", "field 'poolin' is not known; did you mean 'pooling'"),
    ("pooling=men", "pooling 'men' is not known; did you mean 'mean'"),
    ("updates=sum,seperate", "updates 'seperate' is not known; did you mean 'separate'"),
    ("updates=", "updates is empty"),
    ("name=", "name is empty: runs and their lines are called by it; give one, such as mine"),
    ("lr=fast", "lr must be a number, not 'fast'"),
    ("lr=nan", "lr must be between 0 and 1e+30"),
    ("epochs=2.5", "epochs must be a whole number"),
    ("epochs=0", "epochs must be between 1"),
    ("dropout=1", "dropout must be between 0 and 0.999"),
    ("scale=2", "scale must be between"),
    ("lr", "write it as field=value"),
    ("precision=fp16", "precision 'fp16' is not known"),
    ("qqp_head=cosin", "qqp_head 'cosin' is not known; did you mean 'cosine'"),
    ("trains=head", "trains 'head' is not known; did you mean 'heads'"),
    ("end_qqp=1", "end_qqp must be between 2"),
    ("pair=cros", "pair 'cros' is not known; did you mean 'cross'"),
    ("tasks=sst,qpp", "tasks 'qpp' is not known; did you mean 'qqp'"),
    ("tasks=", "tasks must name one task or more"),
    ("tasks=sst,sst", "tasks must name one task or more, each once"),
    ("task_weights=1,2", "task_weights must be 3 numbers of 0 or more, at most 1e+15, of sst, qqp, sts"),
    ("task_weights=1,1e20,1", "at most 1e+15"),
    ("smart.sigma=1e40", "smart: sigma must be a number between 0 and 1e+15, not 1e+40"),
    ("smart.steps=-1", "smart: steps must be a whole number between 0 and 1e+15, not -1"),
    ("task_weights=1,-1,1", "task_weights must be 3 numbers of 0 or more"),
    ("task_weights=1,nan,1", "task_weights must be 3 numbers of 0 or more"),
    ("task_weights=1,much,1", "task_weights must be a number, not 'much'"),
    ("task_weights=1,2,,3", "task_weights has nothing between two commas"),
    ("updates=,sum", "updates has nothing between two commas"),
    ("task_weights=0,0,0", "the weight 0"),
    ("protocol=laptop", "use --protocol"),
    ("=3", "write the name of a field"),
])
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(lab.LabError, match="^[^\n]*" + re.escape(message)):
        Experiment().with_settings([setting])


@pytest.mark.parametrize("wrong", [{"epochs": 1.5}, {"epochs": True}, {"lr": "1e-3x"}, {"updates": 3}, {"name": 5},
                                   {"seed": None}, {"updates": ("sum", 1)}])
def test_a_wrong_value_fails_at_once(wrong):
    with pytest.raises(lab.LabError):
        Experiment(**wrong)


def test_a_field_that_is_given_twice_has_one_value():
    assert Experiment().with_settings(["lr=1", "lr = 1"]).lr == 1
    with pytest.raises(lab.LabError, match=r"smart.weight is given twice, as '1' and as '2'"):
        Experiment().with_settings(["smart.weight=1", "smart.weight=2"])
    for both in (["smart=none", "smart.weight=3"], ["smart.weight=3", "smart=none"]):
        with pytest.raises(lab.LabError, match=r"^smart=none and smart.weight=3 contradict each other; leave out one"):
            Experiment(smart=Smart()).with_settings(both)
    with pytest.raises(lab.LabError, match=r"every task that is trained .sst. the weight 0"):
        Experiment(tasks=("sst",), task_weights=(0, 1, 1))


def test_settings_are_read_as_their_fields_are():
    changed = Experiment().with_settings(["lr=3e-5", "updates=sum, sum", "eval_qqp=none", "epochs=3", "pooling=max"])
    assert (changed.lr, changed.updates, changed.eval_qqp, changed.epochs, changed.pooling) == (
        3e-5, ("sum", "sum"), None, 3, "max")


def test_tasks_have_one_order_and_weights_are_numbers():
    changed = Experiment().with_settings(["tasks=sts,sst", "task_weights=1, .5, 2"])
    assert changed.tasks == ("sst", "sts") and changed.task_weights == (1.0, 0.5, 2.0)
    assert Experiment.from_json(changed.to_json()) == changed
    assert [changed.task_weight(task) for task in ("sst", "qqp", "sts")] == [1.0, 0.5, 2.0]
    assert changed.with_settings(["task_weights=none"]).task_weight("qqp") == 1.0


def test_controls_differ_from_their_rows_in_one_thing_and_are_trained_as_recipes_are():
    of = {"sum_sum": "gse", "mean": "gradient_surgery", "smart_ball": "smart", "smart_no_dropout": "smart",
          "smart_no_noise": "smart"}
    assert not CONTROLS.keys() & lab.RECIPES.keys()
    for name, control in CONTROLS.items():
        row = lab.RECIPES[of.get(name, "multitask")]
        fields = [field.name for field in dataclasses.fields(control)]
        differ = [field for field in fields if getattr(control, field) != getattr(row, field)]
        assert differ[0] == "name" and len(differ) == 2, name
        for protocol in lab.PROTOCOLS.values():
            assert departs(protocol(control)) == []


def test_a_cross_pair_has_one_vector_for_its_heads():
    assert Experiment().with_settings(["pair=cross"]).pair == "cross"
    for head in lab.STS_HEADS.keys() - {"linear"}:
        with pytest.raises(lab.LabError, match=rf"sts_head '{head}' compares two vectors.*valid with it: linear\)$"):
            Experiment(pair="cross", sts_head=head)
    for head in QQP_HEADS.keys() - {"linear"}:
        with pytest.raises(lab.LabError, match=rf"qqp_head '{head}' compares two vectors.*valid with it: linear\)$"):
            Experiment(pair="cross", qqp_head=head)
    cosine = Experiment(sts_head="cosine_d")  # settings count together, whatever their order
    assert cosine.with_settings(["pair=cross", "sts_head=linear"]) == cosine.with_settings(
        ["sts_head=linear", "pair=cross"]) == Experiment(pair="cross")


def test_a_record_from_before_pair_is_siamese_and_its_run_is_found():
    gse = lab.PROTOCOLS["laptop"](lab.RECIPES["gse"])
    gse = dataclasses.replace(gse, eval_train=300, warmup=0, end_qqp=None, samples=20)  # the protocol of then
    old = {key: value for key, value in json.loads(gse.to_json()).items() if key != "pair"}
    assert Experiment.from_json(json.dumps(old)) == gse
    data = SimpleNamespace(fingerprint="b59f4013d8a2", kind="files")
    assert run_name(gse, data) == "gse-laptop-s11711-f0fce5"  # as it was named then
    assert run_name(dataclasses.replace(gse, pair="cross"), data) != run_name(gse, data)


def test_smart_is_set_field_by_field():
    changed = Experiment().with_settings(["smart.epsilon=1e-3", "smart.reading=ball", "smart.dropout=false"])
    assert changed.smart == lab.Smart(epsilon=1e-3, reading="ball", dropout=False)
    assert changed.with_settings(["smart.bregman=1", "smart.steps=2"]).smart == lab.Smart(
        epsilon=1e-3, reading="ball", dropout=False, bregman=1.0, steps=2)
    assert changed.with_settings(["smart=none"]).smart is None
    assert Experiment.from_json(changed.to_json()) == changed
    for setting, message in [("smart.epsilom=1", "field of smart 'epsilom' is not known; did you mean 'epsilon'"),
                             ("smart.weight=-1", "weight must be"), ("smart.reading=bal", "valid: library, ball"),
                             ("smart.steps=1.5", "must be a whole number"), ("smart=5", "lab.Smart or none"),
                             ("smart.dropout=perhaps", "must be true or false"),
                             ("lr.x=1", "field 'lr.x' is not known")]:
        with pytest.raises(lab.LabError, match=re.escape(message)):
            Experiment().with_settings([setting])


@pytest.mark.parametrize("text", ["", "[]", "null", '{"pooling": "men"}', '{"future": 1}', "{",
                                  pytest.param("[" * 100_000, id="deep list"),
                                  pytest.param('{"a":' * 100_000, id="deep object")])
def test_a_damaged_record_is_named(text):
    with pytest.raises(lab.LabError):
        Experiment.from_json(text)


def test_the_recipes_are_the_thirteen_rows_in_order():
    rows = {name: (r.updates, r.sts_head, r.pooling, r.smart is not None, r.iterations)
            for name, r in lab.RECIPES.items() if name in TABLE1}
    assert rows == TABLE and list(rows) == list(TABLE) == list(TABLE1) == list(lab.RECIPES)[:13]
    for name in TABLE1:
        recipe = lab.RECIPES[name]
        axes = ("updates", "smart", "sts_head", "pooling", "iterations")
        assert recipe == lab.Experiment(name=name, **{axis: getattr(recipe, axis) for axis in axes})
        assert recipe.smart in (None, Smart(5.0, 1e-3, 1e-5, 1e-5, 1, "library", True, None))
        assert lab.Experiment.from_json(recipe.to_json()) == recipe
        assert departs(lab.PROTOCOLS["laptop"](recipe)) == [] and not recipe.warmup


def test_beyond_the_paper_stand_three_recipes():
    assert list(lab.RECIPES)[13:] == ["frozen", "strong", "strong_cross"]
    assert {name for name, recipe in lab.RECIPES.items() if recipe.trains == "heads"} == {"frozen"}
    for name in list(lab.RECIPES)[13:]:
        recipe = lab.RECIPES[name]
        assert Experiment.from_json(recipe.to_json()) == recipe
        for protocol in lab.PROTOCOLS.values():
            assert departs(protocol(recipe)) == []


@pytest.mark.parametrize("protocol", list(lab.PROTOCOLS))
def test_a_recipes_own_settings_stay_under_a_protocol_and_the_papers_rows_share_one_rate(protocol):
    made = {name: lab.PROTOCOLS[protocol](recipe) for name, recipe in lab.RECIPES.items()}
    assert {e.protocol for e in made.values()} == {protocol}
    usual = Experiment()
    for name in made.keys() - set(TABLE1):
        recipe = lab.RECIPES[name]
        scales = () if protocol == "sample" and name in LAPTOP_SCALES else ("epochs", "warmup", "batch_size")
        for field in ("lr", "samples", "pooling", "pair", "sts_head", "qqp_head", "trains", *scales):
            if getattr(recipe, field) != getattr(usual, field):
                assert getattr(made[name], field) == getattr(recipe, field), (name, field)
    assert made["frozen"].lr == 1e-2 and made["strong_cross"].lr == 1e-4
    same = ("encoder", "lr", "warmup", "epochs", "scale", "batch_size", "eval_train", "eval_qqp", "end_qqp",
            "eval_rows")
    assert len({tuple(getattr(made[name], field) for field in same) for name in TABLE1}) == 1
    lr, warmup = {"paper": (1e-5, 0), "laptop": (1e-4, 24), "sample": (3e-4, 24), "smoke": (1e-4, 0)}[protocol]
    assert (made["baseline"].lr, made["baseline"].warmup) == (lr, warmup)


def test_a_users_own_rate_stays_under_a_protocol():
    mine = dataclasses.replace(lab.RECIPES["gse"], lr=5e-5, warmup=7)
    assert [(e.lr, e.warmup) for e in (lab.PROTOCOLS[name](mine) for name in ("laptop", "sample"))] == [(5e-5, 7)] * 2


def test_the_sample_has_a_protocol_of_its_own():
    assert default_protocol(True) == "sample" and default_protocol(False) == "laptop"
    sample = lab.PROTOCOLS["sample"](lab.RECIPES["gse_3x"])
    assert (sample.epochs, sample.iterations, sample.encoder) == (3, 3 * 47, "minilm")


@pytest.mark.parametrize("wrong", [{"updates": ("pcgrad",)}, {"updates": ("sum", "pcgrad")}, {"smart": Smart()}])
def test_what_acts_on_the_encoder_needs_a_trained_one(wrong):
    with pytest.raises(lab.LabError, match=r"trains 'heads' leaves the encoder as it is.*valid with it: updates s"):
        Experiment(trains="heads", **wrong)
    assert Experiment(trains="heads", updates=("separate",)).trains == "heads"
    for more in ({"updates": ("separate",)}, {"updates": ("sum",), "tasks": ("sts",)},
                 {"updates": ("sum",), "sampling": "proportional"}):
        with pytest.raises(lab.LabError, match="cosine_embedding' has no weights"):
            Experiment(trains="heads", sts_head="cosine_embedding", **more)
    assert Experiment(trains="heads", sts_head="cosine_embedding", updates=("sum",)).trains == "heads"


def test_departs_names_what_is_changed():
    recipe = lab.PROTOCOLS["laptop"](lab.RECIPES["smart"])
    changed = dataclasses.replace(recipe, pooling="mean", pair="cross", smart=Smart(weight=1), lr=1)
    assert departs(changed) == ["pooling", "pair", "smart"]


def test_numpys_numbers_are_numbers():
    made = Experiment(seed=np.int64(3), epochs=np.uint8(2), lr=np.float32(0.5), weight_decay=np.int32(1))
    assert (made.seed, made.epochs, made.lr, made.weight_decay) == (3, 2, 0.5, 1.0)
    assert {type(made.seed), type(made.epochs)} == {int} and type(made.lr) is type(made.weight_decay) is float
    for wrong in ({"seed": np.float64(3)}, {"seed": np.bool_(True)}, {"lr": np.complex64(1)}):
        with pytest.raises(lab.LabError, match="must be a"):
            Experiment(**wrong)


def test_a_range_stands_beside_its_field():
    ranges = {field.name: field.metadata["within"] for field in dataclasses.fields(Experiment) if field.metadata}
    assert ranges["dropout"] == (0, 0.999) and ranges["scale"] == (1e-6, 1)
    for name, (low, high) in ranges.items():
        assert getattr(Experiment(**{name: low}), name) == low
        with pytest.raises(lab.LabError, match=f"{name} must be between"):
            Experiment(**{name: 2 * high})


def test_the_papers_scale_keeps_all_rows_of_any_set():
    """8 x 755 is the paper's own STS set: a larger one is not cut at the paper's scale."""
    data = SimpleNamespace(splits={("sts", "train"): SimpleNamespace(examples=range(20_000))})
    recipe = lab.RECIPES["multitask"]
    assert kept_share(recipe, data) == kept_share(lab.PROTOCOLS["paper"](recipe), data) == 1
    assert kept_share(lab.PROTOCOLS["laptop"](recipe), data) == 8 * 47 / 20_000
