"""The journal's file: what isn't this trader's whole journal is refused, and left as it is."""

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live.journal import Journal
from live.journal_file import APPLICATION_ID, NAME, VERSION, open_database
from live.record import Standing
from live.ticket import OrderReport
from mlflow_ppo_flavor.errors import JournalError
from tests import tiers
from tests.live.sealing import VERDICT
from tests.live.test_journal import FILL, FILLED, ID, STANDING, TICKET
from tests.live.values import BAR_TIME, record

GOLDEN = Path(__file__).parents[1] / "golden"


def filled_journal(folder: Path) -> Path:
    """A closed journal with something of everything; its file."""
    with Journal.open(folder, "live-1") as journal:
        journal.save_account("AAPL", STANDING)
        journal.record_decision(record())
        journal.record_order(TICKET)
        journal.settle("AAPL", ID, FILLED, FILL, STANDING)
        journal.set_conduct("HALTED", "daily_loss: 6.00% lost")
        journal.note("swap", None, "version 1 → 2", {"from": 1})
        journal.remember_verdict(VERDICT)
    return folder / NAME


def refusal(folder: Path, trader_id: str = "live-1") -> str:
    """Why a journal isn't opened; its file is as it was before."""
    path = folder / NAME
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError) as caught:
        Journal.open(folder, trader_id)
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(caught.value)


def test_a_commit_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    """What SQLite documents as durable over a power cut: a log that is synced at every commit."""
    with Journal.open(tmp_path, "live-1") as journal:
        pragmas = ("journal_mode", "synchronous", "fullfsync", "foreign_keys")
        found = [journal._database.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert found == ["wal", 2, 1, 1]


def test_a_new_journal_is_moved_to_its_place_whole(tmp_path: Path) -> None:
    """An unfinished one, left by a crash, is never taken for a journal."""
    draft = tmp_path / "journal.new"
    draft.write_bytes(b"half a jour")
    open_database(tmp_path, "live-1").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_another_traders_directory_is_refused(tmp_path: Path) -> None:
    filled_journal(tmp_path)
    assert refusal(tmp_path, "live-2") == (
        f"{tmp_path / NAME}: found the journal of trader 'live-1', expected 'live-2': "
        "give that --trader-id, or another --state-dir"
    )


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, version: int) -> None:
    with closing(sqlite3.connect(filled_journal(tmp_path))) as database, database:
        database.execute(f"PRAGMA user_version = {version}")
    expected = f"{NAME}: found version {version}, expected {VERSION}: run the trader's version that wrote it"
    assert expected in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"trades:\n- AAPL\n" * 100, r"found what SQLite can't read \(file is not a database\)"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "found what SQLite can't read"),
    ],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    message = refusal(tmp_path)
    assert re.search(found, message)
    assert "expected a trader's journal: restore it from a copy, or move it away and reconcile by hand" in message


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as database, database:
        database.execute("CREATE TABLE orders (id)")
    assert "found another program's database, expected a trader's journal" in refusal(tmp_path)


def test_a_folder_or_a_lone_log_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert "found what is no file" in refusal(tmp_path)
    (tmp_path / NAME).rmdir()
    (tmp_path / "journal.db-wal").write_bytes(b"\0")
    assert "found none, but its log journal.db-wal" in refusal(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tiers.SLOW_EXAMPLES)
@given(st.data())
def test_a_file_cut_short_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = filled_journal(folder)
    size = path.stat().st_size
    os.truncate(path, data.draw(st.integers(0, size - 1)))
    assert "expected a trader's journal" in refusal(folder)
    shutil.rmtree(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tiers.SLOW_EXAMPLES)
@given(st.data())
def test_a_page_that_was_overwritten_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("torn")
    path = filled_journal(folder)
    content = bytearray(path.read_bytes())
    page = data.draw(st.integers(0, len(content) // 4096 - 1)) * 4096
    content[page : page + 4096] = data.draw(st.sampled_from([b"\0", b"\xff", b"torn"])) * 4096
    path.write_bytes(content[: len(path.read_bytes())])
    assert "expected a trader's journal" in refusal(folder)
    shutil.rmtree(folder)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    expected = r"state: found one that can't be used \(.*\), expected a directory to write to: give another --state-dir"
    with pytest.raises(JournalError, match=expected):
        Journal.open(tmp_path / "state", "live-1")


@pytest.mark.parametrize("version", [1, VERSION])
def test_a_journal_of_every_version_is_read_as_ever(tmp_path: Path, version: int) -> None:
    """The golden files are what each version wrote: a trader is upgraded in the middle of a trade."""
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.executescript((GOLDEN / f"journal_{version}.sql").read_text(encoding="utf-8"))
    with Journal.open(tmp_path, "live-1") as journal:
        assert journal.account("AAPL") == STANDING
        assert journal.decisions("AAPL") == (record(),)
        assert journal.orders("AAPL") == (TICKET,)
        assert journal.report(ID) == FILLED
        assert journal.fills("AAPL") == (FILL,)
        conduct, (event,) = journal.conduct(), journal.events()
        assert (conduct.state, conduct.reason, conduct.since) == ("HALTED", "daily_loss: 6.00% lost", SINCE)
        assert (event.at, event.kind, event.detail) == (SINCE, "swap", {"from": 1})
        assert journal.verdicts() == ((VERDICT,) if version > 1 else ())
        assert not journal.update_order(ID, OrderReport(ID, "new"))
        journal.save_account("AAPL", Standing(STANDING.state, BAR_TIME + 1))
        journal.remember_verdict(VERDICT)
    with Journal.open(tmp_path, "live-1") as journal:
        assert journal.verdicts() == (VERDICT,)


def schema(path: Path) -> list[tuple[str, str]]:
    """(version, then the statement of every table and index) of a journal's file."""
    with closing(sqlite3.connect(path)) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        told = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    return [("version", str(version)), *told]


def test_an_older_journal_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    with closing(sqlite3.connect(tmp_path / "old" / NAME)) as database:
        database.executescript((GOLDEN / "journal_1.sql").read_text(encoding="utf-8"))
    for folder in ("old", "new"):
        open_database(tmp_path / folder, "live-1").close()
    assert schema(tmp_path / "old" / NAME) == schema(tmp_path / "new" / NAME)


def test_an_older_journal_of_another_trader_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.executescript((GOLDEN / "journal_1.sql").read_text(encoding="utf-8"))
    assert "found the journal of trader 'live-1', expected 'live-2'" in refusal(tmp_path, "live-2")


SINCE = "2012-10-26T20:00:00.000Z"
