"""What is run is what is recorded: the imported code is the workspace's, the installed packages are packages.yaml's."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from ruamel.yaml import YAML

from facemix.errors import FacemixError
from facemix.files import whole_file

PACKAGES_FILE = Path("packages.yaml")
PACKAGES = ("torch", "timm", "opencv-python")
"""The libraries that decide weights."""


def check(root: Path = Path()) -> None:
    """Stops what would not be what DVC and git record.

    Args:
        root: of the project. Without a `src/facemix` or a packages.yaml there, there is nothing to hold it to.

    Raises:
        FacemixError: another code than that of the workspace is imported, or other packages are installed.
    """
    ours, theirs = Path(__file__).parent, root / "src" / "facemix"
    if theirs.is_dir() and not theirs.samefile(ours) and code(theirs) != code(ours):
        raise FacemixError(
            f"the imported facemix is {ours}, but the code of this workspace, {theirs.resolve()}, differs, and DVC "
            "would record it; activate this workspace's own environment, or run `pip install -e .` here"
        )
    if not (root / PACKAGES_FILE).exists():
        return
    recorded = YAML(typ="safe").load(root / PACKAGES_FILE)
    if not isinstance(recorded, dict):
        raise FacemixError(
            f"{PACKAGES_FILE}: found {recorded!r}, expected a version for each package; restore it with `git "
            "checkout packages.yaml`"
        )
    installed = installed_packages()
    if different := [name for name in PACKAGES if str(recorded.get(name)) != installed[name]]:
        listed = ", ".join(f"{name} {recorded.get(name)} (installed: {installed[name]})" for name in different)
        raise FacemixError(
            f"{PACKAGES_FILE}: found {listed}; install what it says by `pip install -c constraints.txt -e .`, or run "
            "`facemix packages` to record what is installed: then all trainings run again"
        )


def installed_packages() -> dict[str, str]:
    """The installed version of each of PACKAGES, without what tells builds apart (2.13.0+cpu is 2.13.0)."""
    return {name: version(name).partition("+")[0] for name in PACKAGES}


def record_packages(root: Path = Path()) -> None:
    """Writes the installed versions to packages.yaml; what else stands there stays."""
    yaml = YAML()
    path = root / PACKAGES_FILE
    content = yaml.load(path) if path.exists() else {}
    content.update(installed_packages())
    with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def code(package: Path) -> str:
    """A digest of the Python files of a package."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
