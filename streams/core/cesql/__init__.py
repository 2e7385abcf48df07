"""CloudEvents SQL 1.0: expressions over an event's attributes, compiled once and evaluated often."""

from streams.core.cesql.evaluating import Filter, compile_filter
from streams.core.cesql.parsing import BadExpression
from streams.core.cesql.values import Failed

__all__ = ["BadExpression", "Failed", "Filter", "compile_filter"]
