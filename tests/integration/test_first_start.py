"""The native stack's database is made in odd surroundings, by the real initdb."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.stack.database import prepare_postgres
from lab.stack.native import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """A home that PostgreSQL's own user reaches, which pytest's folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="glasshouse h\u00e4user "))
    folder.chmod(0o755)
    made = Home(folder)
    made.data.mkdir()
    yield made
    shutil.rmtree(folder)


@pytest.mark.case("locale")
def test_a_locale_that_is_not_installed_does_not_keep_the_database_from_being_made(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    prepare_postgres(home)
    assert (home.data / "postgres/PG_VERSION").read_text().strip().isdigit()


def test_a_first_start_that_was_interrupted_is_taken_up_again(home: Home) -> None:
    # what initdb leaves where it was killed half-way
    half = home.data / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("15\n")
    prepare_postgres(home)
    assert (home.data / "postgres/global").is_dir()
    assert not half.exists()
