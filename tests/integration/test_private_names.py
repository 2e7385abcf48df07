"""The private names we lean on still exist; when a library drops one, this says so before anything else does."""

import importlib
import inspect

import pytest

from handlers.egress import connector as connections
from streams.lane import private as lanes
from streams.router import private as router


@pytest.mark.parametrize(("module", "owner", "name"), [*lanes.NAMES, *router.NAMES, *connections.NAMES])
def test_a_private_name_still_exists(module: str, owner: str, name: str) -> None:
    assert hasattr(getattr(importlib.import_module(module), owner), name)


@pytest.mark.parametrize(("module", "owner", "name"), [*lanes.ATTRIBUTES, *router.ATTRIBUTES, *connections.ATTRIBUTES])
def test_a_private_attribute_is_still_set(module: str, owner: str, name: str) -> None:
    made_by = inspect.getsource(getattr(importlib.import_module(module), owner).__init__)
    assert f"self.{name} " in made_by or f"self.{name}:" in made_by
