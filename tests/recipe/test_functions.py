"""Templates give code that runs and holds nothing of the families that are left out."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from models.recipe.functions import TEMPLATES, Body, Draw, Sketch, probes
from models.recipe.left_out import findings
from models.recipe.names import Namer, Pool

NOT_BEHAVIOUR = (NameError, SyntaxError, UnboundLocalError, AttributeError)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.__name__)
def test_a_template_gives_functions_that_run(template: Callable[[Draw], Body]) -> None:
    """Called with its probes, a function returns or raises what its arguments ask for, never a mistake in its text."""
    rng = random.Random(3)
    answered = 0
    for _ in range(12):
        namer = Namer(rng, Pool.PRETRAIN)
        parameters, body = template(Draw(rng, namer))
        sketch = Sketch(namer.function(), parameters, tuple(body))
        text = "\n".join(sketch.lines(doc="Do it.")) + "\n"
        assert findings([text], []) == []
        place: dict[str, Callable[..., object]] = {}
        exec(compile(text, "generated", "exec"), place)
        for arguments in probes(rng, sketch):
            try:
                place[sketch.name](*arguments)
                answered += 1
            except NOT_BEHAVIOUR as err:
                raise AssertionError(text) from err
            except Exception:  # noqa: BLE001 - raising on some arguments is behaviour
                continue
    assert answered > 20


def test_probes_reach_both_sides_of_a_default() -> None:
    """Some calls leave parameters with defaults away."""
    rng = random.Random(1)
    parameters, body = TEMPLATES[4](Draw(rng, Namer(rng, Pool.PRETRAIN)))
    assert {len(call) for call in probes(rng, Sketch("f", parameters, tuple(body)))} == {2, 3}
