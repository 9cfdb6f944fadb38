"""A program that commits numbers to an SQLite database, and says each on its output when it is acknowledged:
`python committing.py DATABASE JOURNAL_MODE FIRST`. It ends at the first error."""

from __future__ import annotations

import sqlite3
import sys


def main(place: str, journal_mode: str, first: int) -> None:
    database = sqlite3.connect(place, isolation_level=None, timeout=1.0)
    database.execute(f"PRAGMA journal_mode={journal_mode}")
    # with a rollback journal the commit is its unlink, which FULL does not sync: the change is in the directory alone
    database.execute("PRAGMA synchronous=EXTRA")
    database.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, filler BLOB)")
    print("begun", flush=True)
    for number in range(first, first + 1_000_000):
        database.execute("INSERT INTO numbers VALUES (?, randomblob(500))", (number,))
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
