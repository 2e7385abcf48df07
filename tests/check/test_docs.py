"""What the documents say is so: generated pages are fresh, links lead somewhere, words mean one thing."""

import re
from pathlib import Path

import pytest

from compose import docs
from schemas.settings import default_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Words that the glossary has another word for, where they would mean ours.
FORBIDDEN = re.compile(r"\b(webhook account|destination|DLQ|requeue[ds]?|route table|job queue)\b", re.IGNORECASE)


@pytest.mark.parametrize("name", sorted(docs.GENERATED))
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == docs.GENERATED[name](), f"run: python -m compose.docs ({name})"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_words_are_those_of_the_glossary(page: Path) -> None:
    if page.name != "glossary.md":
        assert FORBIDDEN.findall(page.read_text()) == []


def test_the_example_environment_lists_every_setting_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    for model in docs.MODELS.values():
        for name, field in model.model_fields.items():
            default = default_of(field).lower() if isinstance(field.default, bool) else default_of(field)
            assert f"#HOOKFOLD_{name.upper()}={default}\n" in text


def test_every_module_named_in_the_walk_of_one_event_exists() -> None:
    text = (ROOT / "docs" / "one-event.md").read_text()
    named = re.findall(r"`((?:schemas|streams|handlers|compose)/[\w/]+\.py)`", text)
    assert 3 <= len(set(named)) < 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_functions_named_in_the_walk_of_one_event_exist() -> None:
    text = (ROOT / "docs" / "one-event.md").read_text()
    for path, function in re.findall(r"`((?:schemas|streams|handlers)/[\w/]+\.py)`[^`\n]{0,12}`(\w+)`", text):
        assert re.search(rf"def {function}\b", (ROOT / path).read_text()), (path, function)
