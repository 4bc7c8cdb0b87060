"""Defines the tables of the store, once for SQLite and PostgreSQL. A prefix keeps them apart from a user's own.

JSON columns hold lists and maps of strings. Times are Unix seconds, as everywhere at our edges.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Column, Double, ForeignKey, Integer, MetaData, String, Table, Text

METADATA: Final = MetaData()

ACCOUNTS: Final = Table(
    "firstword_accounts",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", Text, nullable=False),
    Column("language", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("voice", String, nullable=False),
    Column("greeting", Text, nullable=False),
    Column("instructions", Text, nullable=False),
    Column("tools", JSON, nullable=False),
    Column("knowledge", JSON, nullable=False),
)

LAST_SESSIONS: Final = Table(
    "firstword_last_sessions",
    METADATA,
    Column("account", String, ForeignKey(ACCOUNTS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("ended", Double, nullable=False),
    Column("summary", Text, nullable=False),
    Column("left_open", Text, nullable=False),
)

SESSIONS: Final = Table(
    "firstword_sessions",
    METADATA,
    Column("id", String, primary_key=True),
    # A deleted account leaves its sessions' figures behind, but nothing that says whose they were.
    Column("account", String, ForeignKey(ACCOUNTS.c.id, ondelete="SET NULL"), index=True),
    Column("started", Double, nullable=False, index=True),
    Column("flags", JSON, nullable=False),
    Column("first_word", Double),
    Column("ended", String),
    Column("turns", Integer),
    Column("errors", Integer),
)
