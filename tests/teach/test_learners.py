"""lab/teach/checker.py judges answers as learners write them: right ones of any form pass, wrong ones do not."""

import ast
import copy
import inspect
import textwrap

import pytest
from learners import RIGHT, UNNAMED, by_heart

from lab import teach
from lab.teach import exercises
from lab.teach.exercises import EXERCISES
from lab.teach.wrong_answers import WRONG_ANSWERS

pytestmark = pytest.mark.filterwarnings("ignore")  # of scipy and numpy, about single values and nearly constant ones


OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
             ast.MatMult: ast.Mult, ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}


class Mutant(ast.NodeTransformer):
    """Changes the node with a number into something else that a hurried learner might have written."""

    def __init__(self, number):
        self.left, self.done = number, ""

    def visit(self, node):
        node = self.generic_visit(node)
        for made in self.others(node):
            if self.left == 0 and not self.done:
                self.done = f"{ast.unparse(node)}  ->  {ast.unparse(made)}"
                return made
            self.left -= 1
        return node

    def others(self, node):
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
            made = copy.copy(node)
            made.op = OPERATORS[type(node.op)]()
            yield made
        if isinstance(node, ast.BinOp):
            yield node.left
            yield node.right
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
            yield ast.Compare(node.left, [OPERATORS[type(node.ops[0])]()], node.comparators)
        if isinstance(node, ast.BoolOp):
            yield from node.values
        if isinstance(node, ast.UnaryOp):
            yield node.operand
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            yield ast.Constant(node.value + 1)
            if node.value:
                yield ast.Constant(0)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not isinstance(
                node.func.value, ast.Name | ast.Constant):
            yield node.func.value  # without the call: `x.mean(0)` becomes `x`


def mutants(name):
    """{what was changed: the changed function} of an exercise's right answer."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(EXERCISES[name].right)))
    tree.body[0].body = tree.body[0].body[1:]  # without its docstring
    tree.body[0].args = ast.arguments([], [ast.arg(of.arg) for of in tree.body[0].args.args], None, [], [], None, [])
    tree.body[0].returns, made = None, {}
    for number in range(1000):
        mutant = Mutant(number)
        changed = ast.fix_missing_locations(mutant.visit(copy.deepcopy(tree)))
        if not mutant.done:
            return made
        space = dict(vars(exercises))
        exec(compile(changed, "mutant", "exec"), space)
        made[f"{number}: {mutant.done}"] = space[name]


# A dimension of -1 and of 1 are the same in two dimensions, and torch divides by whole numbers as well.
EQUIVALENT = ("-1  ->  1", "mask.unsqueeze(-1).to(hidden.dtype)  ->  mask.unsqueeze(-1)")


@pytest.mark.parametrize("name", EXERCISES)
def test_every_right_answer_passes_whatever_its_form(name):
    for number, mine in enumerate(RIGHT[name]):
        for seed in range(4):
            found = teach.check(name, mine, seed)
            assert found and "✗" not in found, (number, found)


@pytest.mark.parametrize("name", EXERCISES)
def test_no_unnamed_wrong_answer_passes_and_each_is_told_why(name):
    for number, mine in enumerate([*UNNAMED[name], by_heart(name)]):
        for seed in range(2):
            found = teach.check(name, mine, seed)
            assert not found and "✗" in found, (number, found)
            why = [line for line in found.splitlines()[1:] if line[0] not in "✓✗"]
            assert len(why) >= 2 and len(why[0]) > 15 and why[-1] == f'Stuck? teach.hint("{name}")', (number, found)


@pytest.mark.parametrize("name", EXERCISES)
def test_no_mutant_of_the_right_answer_passes(name):
    made = mutants(name)
    passed = [about for about, mine in made.items() if teach.check(name, mine, 1) and not about.endswith(EQUIVALENT)]
    assert len(made) >= 6 and not passed


def test_there_are_enough_of_both_kinds():
    wrong = sum(len(WRONG_ANSWERS[name]) + len(UNNAMED[name]) + 1 for name in EXERCISES)
    assert wrong >= 300 and sum(map(len, RIGHT.values())) >= 60
