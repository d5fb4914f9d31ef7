"""Teaching tools for the notebooks: show the running source, check exercises, draw small pictures.

    from lab import teach
    teach.show(lab.COMBINERS["pcgrad"])     # the source of the code that runs, not a copy
    teach.check("pcgrad", mine)             # which cases are correct, and what is wrong with the first that is not
    teach.hint("pcgrad")                    # the next of three hints
"""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "show": "source",
    "check": "checker", "solution": "checker", "hint": "hints", "progress": "solved",
    "EXERCISES": "exercises", "WRONG_ANSWERS": "wrong_answers",
    "experiment": "scale",
    "contrasts": "claims",
    "plot": "pictures", "arrows": "pictures", "slider": "pictures",
})
