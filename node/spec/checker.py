"""From what a user wrote to the canonical spec, or to all of its errors.

The good path is one typed decode and the rules. Only where the decode fails is the object walked field by
field; the rules then run on what could be read, so that one answer names every error.
"""

from typing import Any, NamedTuple

import msgspec

from node.schema import ProblemItem
from node.service import Facts
from node.spec.fields import convert_fields
from node.spec.plugged import PluginChecker
from node.spec.problems import InvalidSpec, Problems
from node.spec.raw import RawSpec
from node.spec.rules import check_rules
from node.spec.text import NOT_JSON, parse_json
from plugins.registry import Registry

MAX_BYTES = 64 * 1024
"""Of one canonical spec. It is stored on every replica and travels with every lease."""

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(RawSpec)


class Checked(NamedTuple):
    """`data`: the canonical spec; equal tasks have equal bytes, and `TaskSpec` decodes them."""

    data: bytes
    tenant: str
    name: str | None


class SpecChecker:
    """Checks specs against the plugins and the facts of one moment; make one for each request."""

    def __init__(self, registry: Registry, facts: Facts) -> None:
        self._plugins = PluginChecker(registry, facts)
        self._facts = facts

    def check_line(self, line: bytes) -> Checked:
        """The spec in one JSON text. Raises InvalidSpec."""
        try:
            return self._finish(_DECODER.decode(line), Problems())
        except NOT_JSON:  # JSON of another shape too: then every error of it is wanted
            pass
        try:
            value = parse_json(line)
        except ValueError as error:
            raise InvalidSpec([ProblemItem(pointer="", message=str(error))]) from None
        return self.check_object(value)

    def check_object(self, value: Any) -> Checked:
        """The spec in a decoded JSON value. Raises InvalidSpec with every error."""
        try:
            return self._finish(msgspec.convert(value, RawSpec), Problems())
        except msgspec.ValidationError:
            return self._explain(value)

    def _explain(self, value: Any) -> Checked:
        problems = Problems()
        spec = convert_fields(RawSpec, value, "", problems, instead={"source": {}, "sink": []})
        if spec is None:
            raise InvalidSpec(problems.items)
        return self._finish(spec, problems)

    def _finish(self, spec: RawSpec, problems: Problems) -> Checked:
        check_rules(spec, self._facts, problems)
        self._check_plugins(spec, problems)
        problems.raise_any()
        data = _ENCODER.encode(spec)
        if len(data) > MAX_BYTES:
            problems.add("", f"the task takes {len(data)} bytes, more than {MAX_BYTES}")
            problems.raise_any()
        return Checked(data, spec.tenant, spec.name)

    def _check_plugins(self, spec: RawSpec, problems: Problems) -> None:
        placed = spec.placement is not None
        if not problems.spoiled("/source"):
            self._plugins.check_source(spec.source, spec.mode, problems, placed=placed)
        for index, table in enumerate(spec.transform):
            self._plugins.check("transform", table, f"/transform/{index}", problems, placed=placed)
        if problems.spoiled("/sink"):
            return
        if isinstance(spec.sink, dict):
            self._plugins.check_sink(spec.sink, spec.mode, "/sink", problems, placed=placed)
            spec.sink = [spec.sink]
            return
        if not spec.sink:
            problems.add("/sink", "a task needs at least one sink", remedy="add [[sink]] with its plugin")
        for index, table in enumerate(spec.sink):
            self._plugins.check_sink(table, spec.mode, f"/sink/{index}", problems, placed=placed)
