"""Files of a folder without those that operating systems leave there."""

from pathlib import Path

_LEFT = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"})


def visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted; nothing where there is no folder.

    Hidden files (`.DS_Store`, `._NAME.jpg` of macOS) and what Windows, macOS and network stores add are left out.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in _LEFT)
