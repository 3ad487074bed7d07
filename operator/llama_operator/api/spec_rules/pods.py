"""Cross-field rules of pod settings: what Kubernetes asks of a pod, asked when it is written. Part of `rules.RULES`."""

from collections.abc import Sequence
from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.pods import (
    EnvironmentVariable,
    LabelExpression,
    NodeExpression,
    PodFields,
    SelectorOperator,
    TaintEffect,
    TolerationOperator,
    TolerationSpec,
    TopologySpread,
)

_VALUES: Final = frozenset({"In", "NotIn"})
_NUMBERS: Final = frozenset({SelectorOperator.GREATER, SelectorOperator.LESS})


def _values_fit(expression: NodeExpression | LabelExpression) -> bool:
    if expression.operator in _VALUES:
        return bool(expression.values)
    if expression.operator in _NUMBERS:
        return len(expression.values) == 1 and expression.values[0].isascii() and expression.values[0].isdecimal()
    return not expression.values


def _spread_once(spreads: Sequence[TopologySpread]) -> bool:
    pairs = [(spread.topology_key, spread.when_unsatisfiable) for spread in spreads]
    return len(set(pairs)) == len(pairs)


def _variables_once(variables: Sequence[EnvironmentVariable]) -> bool:
    names = [variable.name for variable in variables]
    return len(set(names)) == len(names)


POD_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=TolerationSpec,
        field="key",
        cel="has(self.key) || self.operator == 'Exists'",
        holds=lambda toleration: toleration.key is not None or toleration.operator is TolerationOperator.EXISTS,
        message="must be set when operator is Equal; set the key of the taint, or operator Exists to tolerate every taint",
    ),
    Rule(
        model=TolerationSpec,
        field="value",
        cel="!has(self.value) || self.operator == 'Equal'",
        holds=lambda toleration: toleration.value is None or toleration.operator is TolerationOperator.EQUAL,
        message="may be set only when operator is Equal; leave it out, or set operator to Equal",
    ),
    Rule(
        model=TolerationSpec,
        field="tolerationSeconds",
        cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        holds=lambda toleration: toleration.toleration_seconds is None or toleration.effect is TaintEffect.NO_EXECUTE,
        message="may be set only when effect is NoExecute; leave it out, or set effect to NoExecute",
    ),
    Rule(
        model=NodeExpression,
        field="values",
        cel="self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : "
        "self.operator in ['Gt', 'Lt'] ? has(self.values) && self.values.size() == 1 && "
        "self.values[0].matches('^[0-9]+$') : !has(self.values) || self.values.size() == 0",
        holds=_values_fit,
        message="must have a value for In and NotIn, one whole number for Gt and Lt, and none for Exists and DoesNotExist; "
        "correct the values or the operator",
    ),
    Rule(
        model=LabelExpression,
        field="values",
        cel="self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : "
        "!has(self.values) || self.values.size() == 0",
        holds=_values_fit,
        message="must have a value for In and NotIn, and none for Exists and DoesNotExist; correct the values or the operator",
    ),
    Rule(
        model=EnvironmentVariable,
        field="value",
        cel="has(self.value) != has(self.valueFrom)",
        holds=lambda variable: (variable.value is None) != (variable.value_from is None),
        message="must be set, or valueFrom in its place, and not both; set one of the two",
    ),
    Rule(
        model=PodFields,
        field="env",
        cel="!has(self.env) || self.env.all(v, self.env.exists_one(w, v.name == w.name))",
        holds=lambda section: _variables_once(section.env),
        message="must have each name once; remove the repeated variables",
    ),
    Rule(
        model=PodFields,
        field="topologySpreadConstraints",
        cel="!has(self.topologySpreadConstraints) || self.topologySpreadConstraints.all(s, "
        "self.topologySpreadConstraints.exists_one(t, s.topologyKey == t.topologyKey && "
        "s.whenUnsatisfiable == t.whenUnsatisfiable))",
        holds=lambda section: _spread_once(section.topology_spread_constraints),
        message="must have each topologyKey once for each whenUnsatisfiable; remove the repeated constraint",
    ),
)
