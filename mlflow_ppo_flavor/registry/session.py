"""One transaction for the guard's check, MLflow's own write and the history: a session maker that others join."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mlflow_ppo_flavor.registry.tables import begin_writing

SessionMaker = Callable[..., AbstractContextManager[Session]]
Begin = Callable[[], AbstractContextManager[Session]]


class JoiningSessionMaker:
    """Stands in for a store's `ManagedSessionMaker`: within `transaction` it hands out that transaction's session, and
    within `beginning` that of the transaction which begins with the first write.
    """

    def __init__(self, own: SessionMaker) -> None:
        self._own = own
        self._thread = threading.local()

    def __call__(self, read_only: bool = True) -> AbstractContextManager[Session]:
        """A session as MLflow's methods ask for one: joined where this thread has a transaction, else MLflow's own."""
        session: Session | None = getattr(self._thread, "session", None)
        if session is not None:
            return self._join(session)
        begin: Begin | None = getattr(self._thread, "begin", None)
        if begin is not None and not read_only:
            return self._begun(begin)
        return self._own(read_only=read_only)

    @contextmanager
    def beginning(self, begin: Begin) -> Iterator[None]:
        """What MLflow writes in this thread is written in the transaction that `begin` opens for it, and no sooner:
        MLflow may fetch before it writes.
        """
        self._thread.begin = begin
        try:
            yield
        finally:
            self._thread.begin = None

    @contextmanager
    def _begun(self, begin: Begin) -> Iterator[Session]:
        with begin() as session, self._join(session):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads, and that MLflow's reads in this thread join: one connection instead of two."""
        with self(read_only=True) as session:
            outer: Session | None = getattr(self._thread, "session", None)
            self._thread.session = session
            try:
                yield session
            finally:
                self._thread.session = outer

    @contextmanager
    def _join(self, session: Session) -> Iterator[Session]:
        if not session.is_active:
            # a statement failed, and the transaction with it: MLflow only looks for the reason now
            session.rollback()
        try:
            yield session
            # where MLflow would commit, its statements reach the database, and its errors appear
            session.flush()
        except (MlflowException, SQLAlchemyError):
            raise
        except Exception as error:
            # as MLflow's own sessions tell what a driver can't write
            raise MlflowException(str(error), error_code=INTERNAL_ERROR) from error

    @contextmanager
    def transaction(self, names: Sequence[str]) -> Iterator[Session]:
        """A write transaction that holds the lock of these models until it is committed or rolled back."""
        with self._own(read_only=False) as session:
            begin_writing(session, names)
            self._thread.session = session
            try:
                yield session
            finally:
                self._thread.session = None
