"""What a run does, on disk, before anything is sent: a folder of its own in the outbox under the main workspace."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from facemix.files import whole_file
from facemix.tracking.store import locked, outbox, store_uri

log = logging.getLogger(__name__)

Entry = dict[str, Any]

LOCK_WAIT = 2.0  # seconds for another process that is just delivering a journal


class Journal:
    """One run: `journal.jsonl`, copies of the files to send, and `sent.json`, which says what the store has.

    Entries are only ever appended, by the run's own process, which holds a lock while it lives. Their `do` is start,
    metrics, artifact, model, register or end. `sent.json` belongs to whoever delivers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self._size = 0  # bytes of whole entries
        self._file = (folder / "journal.jsonl").open("a+b", buffering=0)

    @classmethod
    def begin(cls, identity: str | None) -> Journal:
        """A new journal, or that of the same training where it was stopped.

        Raises:
            OSError: it cannot be written.
        """
        key = hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else "run"
        if identity:
            for folder in sorted(outbox().glob(f"{key}-*")):
                with contextlib.suppress(OSError):  # what cannot be locked may be another process's
                    journal = cls.open(folder, wait=LOCK_WAIT)
                    if journal and journal.status() in ("RUNNING", "KILLED"):
                        return journal
                    if journal:
                        journal.close()
        folder = outbox() / f"{key}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        journal = cls(folder)
        with contextlib.suppress(OSError):  # a file system without locks: nobody else knows this folder
            locked(journal._file, LOCK_WAIT)
        return journal

    @classmethod
    def open(cls, folder: Path, wait: float = 0.0) -> Journal | None:
        """Lock and read a journal; None where it is a living process's, or gone.

        Raises:
            OSError: it cannot be read, or the file system has no locks.
        """
        try:
            journal = cls(folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if not locked(journal._file, wait) or not os.fstat(journal._file.fileno()).st_nlink:
                journal._file.close()
                return None
            journal.refresh()
            torn = journal._tail()
            journal._file.truncate(journal._size)
        except OSError:
            journal._file.close()
            raise
        if lost := torn.count(b"\n"):
            log.warning("%s: a line is damaged; it and the lines after it (%d in all) are left out", folder, lost)
        return journal

    def refresh(self) -> None:
        """Read what was appended by another process. What stands behind a damaged line is left out."""
        for line in self._tail().splitlines(keepends=True):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if not isinstance(entry, dict):  # not wholly written yet, torn by a kill, or lost in a power cut
                break
            self.entries.append(entry)
            self._size += len(line)

    def _tail(self) -> bytes:
        self._file.seek(self._size)
        return self._file.read() or b""

    def append(self, entry: Entry) -> None:
        """Write an entry, whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        line = json.dumps(entry).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(line)
        self.entries.append(entry)

    def keep(self, path: Path) -> str:
        """Copy a file or directory, which may soon be overwritten or vanish with a temporary workspace.

        Raises:
            OSError: it cannot be read or copied; then nothing is kept.
        """
        target = self.folder / "files" / str(len(self.entries)) / path.name
        shutil.rmtree(target.parent, ignore_errors=True)  # half a copy, if the process was killed here before
        try:
            target.parent.mkdir(parents=True)
            if path.is_dir():
                shutil.copytree(path, target)
            else:
                shutil.copy2(path, target)
        except OSError:
            shutil.rmtree(target.parent, ignore_errors=True)
            raise
        return str(target.relative_to(self.folder))

    def status(self) -> str:
        """RUNNING, or how the run ended; empty for a journal whose first line never got written."""
        last = next((entry for entry in reversed(self.entries) if entry["do"] in ("start", "end")), {"status": ""})
        return str(last.get("status", "RUNNING"))

    def sent(self, run_id: str = "") -> int:
        """Number of entries that the store has, in that run."""
        note = self._note()
        return int(note["upto"]) if note.get("store") == store_uri() and run_id in ("", note["run"]) else 0

    def note(self, run_id: str, upto: int) -> None:
        """Say how many entries the store has. Lost, it costs nothing but sending them again."""
        self._write_note({"store": store_uri(), "run": run_id, "upto": upto})

    def note_failure(self, failure: str) -> None:
        """Say why no more was sent."""
        self._write_note({"store": store_uri(), "run": "", "upto": 0} | self._note() | {"failure": failure})

    def failure(self) -> str:
        """Why no more was sent, in one line."""
        return str(self._note().get("failure", ""))

    def _note(self) -> Entry:
        try:
            note = json.loads((self.folder / "sent.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and {"store", "run", "upto"} <= note.keys() else {}

    def _write_note(self, note: Entry) -> None:
        with contextlib.suppress(OSError), whole_file(self.folder / "sent.json") as beside:
            beside.write_text(json.dumps(note), encoding="utf-8")

    def pending(self) -> bool:
        """Whether the store lacks something."""
        return self.sent() < len(self.entries)

    def close(self) -> None:
        """Unlock; delete what is over and delivered. An interrupted training stays: it may be continued."""
        status = self.status()
        over = status in ("FINISHED", "FAILED") or (status == "KILLED" and self.folder.name.startswith("run-"))
        if over and not self.pending():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Unlock, and leave everything as it is."""
        self._file.close()


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000
