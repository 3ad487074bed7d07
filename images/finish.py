"""Last step of an image: takes away what nobody needs at run time, and compiles what is left. Run by the Dockerfiles.

`python finish.py ENVIRONMENT [PACKAGE ...]`: packages that the environment needs although they can install others. It needs the
standard library only.
"""

import compileall
import py_compile
import shutil
import stat
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

INSTALLERS = ("pip", "setuptools", "wheel", "ensurepip", "_distutils_hack", "pkg_resources")
"""Packages that install others. Scanners report what pip carries inside, and an image is never added to."""
_WHEELS = Path("/usr/share/python-wheels")
"""Where Debian keeps the installers that `ensurepip` unpacks."""
_SPECIAL = stat.S_ISUID | stat.S_ISGID
_NOT_FILES = ("proc", "sys", "dev", "run")


def main(environment: Path, kept: Collection[str]) -> None:
    """Finish the image around `environment`, in which `kept` stay."""
    folders = sorted({environment / "lib", *libraries()})
    for folder in folders:
        remove_installers(folder, kept if folder.is_relative_to(environment) else ())
    shutil.rmtree(_WHEELS, ignore_errors=True)
    for path in special_files(Path("/")):
        path.chmod(path.stat().st_mode & ~_SPECIAL)
    # Unchecked: the files are read-only, and their times are those of the commit, which says nothing of their content.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    # Some packages bring files that are no Python, under its name. They are printed; nobody can import them.
    for folder in folders:
        compileall.compile_dir(folder, quiet=1, force=True, invalidation_mode=mode)


def libraries() -> set[Path]:
    """Folders of the interpreter: its standard library, and packages that came with the base."""
    paths = sysconfig.get_paths("posix_prefix", vars={"base": sys.base_prefix, "platbase": sys.base_prefix})
    debian = Path("/usr/lib/python3")
    return {Path(paths["stdlib"]), *([debian] if debian.is_dir() else [])}


def remove_installers(folder: Path, kept: Collection[str]) -> None:
    """Remove packages of `INSTALLERS` in `folder` and in its folders of packages, their metadata and their programs."""
    for place in (folder, *sorted(folder.glob("*-packages")), *sorted(folder.glob("python*/site-packages"))):
        for path in sorted(place.iterdir()):
            name = path.name.partition("-")[0]
            if (
                name in INSTALLERS
                and name not in kept
                and (path.name == name or path.suffix in {".dist-info", ".egg-info"})
            ):
                shutil.rmtree(path)
    for programs in (folder.parent / "bin", folder.parent.parent / "bin"):
        for path in programs.glob("pip*"):
            path.unlink()


def special_files(root: Path) -> Iterator[Path]:
    """Files below `root` that run with the rights of their owner or group."""
    for top in sorted(root.iterdir()):
        if top.name in _NOT_FILES or top.is_symlink() or not top.is_dir():
            continue
        for path in sorted(top.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_mode & _SPECIAL:
                yield path


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
