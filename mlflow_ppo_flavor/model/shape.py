"""What the shapes of a policy's weights say of it, whatever its layers are called and however they are nested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mlflow_ppo_flavor.contract import parsing
from mlflow_ppo_flavor.contract.spec import ModelSpec

_ACTOR_NAMES, _CRITIC_NAMES = ("actor", "policy", "action", "pi"), ("critic", "value", "vf")
_DEEPEST_STATE = 8


class Shape(NamedTuple):
    """What the weights say of themselves: length of an observation and number of actions; None where they don't."""

    obs_dim: int | None
    n_actions: int | None

    def __str__(self) -> str:
        """`5900 inputs and 7 actions`."""
        inputs, actions = ("unknown" if number is None else str(number) for number in self)
        return f"{inputs} inputs and {actions} actions"

    def fits(self, spec: ModelSpec) -> bool:
        """Whether nothing that is known differs from `spec`."""
        return self.obs_dim in (None, spec.obs_dim) and self.n_actions in (None, spec.n_actions)


def shape_of_weights(weights: Mapping[str, Sequence[int]]) -> Shape:
    """What {name: shape} tells, whatever the layers are called: in a chain of layers, the width that enters and isn't
    made by any is the observation's; those made and not used again are the actions' and the critic's one.

    Where widths coincide, the first matrix takes the observation and the last with an actor's name gives the actions.
    """
    matrices = {name: shape for name, shape in weights.items() if len(shape) == 2}
    made, used = ({shape[i] for shape in matrices.values()} for i in (0, 1))
    enters, leaves = used - made, made - used - {1}
    named = [shape[0] for name, shape in matrices.items() if _is_of_actor(name) and shape[0] > 1]
    first = next((shape[1] for shape in matrices.values()), None)
    return Shape(
        obs_dim=enters.pop() if len(enters) == 1 else first,
        n_actions=leaves.pop() if len(leaves) == 1 else (named[-1] if named else None),
    )


def shapes_of(state: object) -> dict[str, tuple[int, ...]]:
    """{dotted name: shape} of a state dict's weights, those in mappings within it too; empty where there are none."""
    weights = flat_weights(state)
    # a nested tensor has no shape, and says so by RuntimeError
    shaped = {name: weight for name, weight in weights.items() if not getattr(weight, "is_nested", False)}
    return {name: tuple(weight.shape) for name, weight in shaped.items() if hasattr(weight, "shape")}


def flat_weights(state: object) -> dict[str, Any]:
    """{dotted name: weight} of a state dict, or of several in mappings that nest; {} of anything else."""
    return {name: weight for name, weight in named_weights(state) if not isinstance(weight, Mapping)}


def named_weights(state: object) -> Iterator[tuple[str, Any]]:
    """Each (dotted name, weight); two may have one name, and what nests too deep comes as the mapping that it is."""
    waiting: list[tuple[str, object, int]] = [("", state, 0)] if isinstance(state, Mapping) else []
    while waiting:
        place, value, depth = waiting.pop()
        if isinstance(value, Mapping) and depth < _DEEPEST_STATE:
            named = [(parsing.join(place, str(name)), member, depth + 1) for name, member in value.items()]
            waiting.extend(reversed(named))
        else:
            yield place, value


def _is_of_actor(name: str) -> bool:
    """Whether a weight's name speaks of the actor and not of the critic: a whole `policy` may have both within."""
    of_critic = any(part in name.lower() for part in _CRITIC_NAMES)
    return not of_critic and any(part in name.lower() for part in _ACTOR_NAMES)
