"""Entry point: chooses the engine, builds the images that are named, prints what came out. Run by `make images`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import bare, engines, sbom, sources
from images.engines import Engine, Order
from images.errors import ImageError
from images.layout import Layout
from images.recipes import OPERATOR, RECIPES, ROOT, SERVING, Recipe, check_release

FOLDER: Final = ROOT / ".images"
"""All that is written, if nobody says another folder; the store of a bare machine is always here."""


@dataclass(frozen=True, slots=True)
class Built:
    """What came out, as it is printed."""

    name: str
    digest: str
    size: str
    sbom: Path

    def lines(self) -> str:
        """Four lines for a terminal."""
        return f"image   {self.name}\ndigest  {self.digest}\nsize    {self.size}\nSBOM    {self.sbom}"


def build(engine: Engine, recipe: Recipe, bases: Mapping[str, str], prefix: str, output: Path) -> Built:
    """Build one image and write its SBOM.

    Args:
        engine: Who builds.
        recipe: What is built.
        bases: References of base images, by argument of the Dockerfile.
        prefix: What comes before its name, without the slash.
        output: Folder for the layout and the SBOM.
    """
    commit = sources.commit(ROOT)
    context = output / "context"
    sources.export(ROOT, context, commit.epoch)
    name = f"{prefix}/{recipe.name}:{commit.version}"
    said = ", ".join(f"{argument} {reference}" for argument, reference in bases.items())
    print(f"==> {name} by {engine.name}, {said}", flush=True)
    labels = commit.labels(bases)
    engine.build(Order(name, context / "images" / recipe.dockerfile, context, commit.epoch, bases, labels))
    target = output / f"{recipe.name}.cdx.json"
    lock = (ROOT / "requirements" / recipe.lock).read_text(encoding="utf-8")
    sbom.write(target, sbom.document(recipe.name, commit, lock, bases))
    if engine.name == "docker":
        return Built(name, engine.digest(name), engine.asked("inspect", "--format={{.Size}}", name).strip(), target)
    layout = Layout(output / recipe.name)
    engine.export(name, layout.folder)
    return Built(name, layout.digest, f"{layout.size / 1e6:.0f} MB compressed, in {layout.folder}", target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        for built in _local(options) if options.local else _with_engine(options):
            print(f"\n{built.lines()}\n", flush=True)
    except ImageError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def _local(options: argparse.Namespace) -> list[Built]:
    recipes = [RECIPES[name] for name in options.only or [OPERATOR.name]]
    if options.release:
        raise ImageError(
            "a release has a base with a digest that others can fetch too: build it with an engine (make images)"
        )
    if strangers := [recipe.name for recipe in recipes if not recipe.local]:
        raise ImageError(f"{', '.join(strangers)} needs a base from a registry: build it with an engine (make images)")
    buildah = bare.engine(FOLDER / "store")
    epoch = sources.commit(ROOT).epoch
    built = []
    for recipe in recipes:
        base = bare.base(buildah, FOLDER, included=recipe.packages, epoch=epoch)
        built.append(build(buildah, recipe, {"BASE": base}, "localhost", options.output))
    return built


def _with_engine(options: argparse.Namespace) -> list[Built]:
    recipes = [RECIPES[name] for name in options.only or [OPERATOR.name, SERVING.name]]
    given = dict(each.partition("=")[::2] for each in options.base)
    wanted = {recipe.name: {**recipe.defaults(), **_of(recipe, given)} for recipe in recipes}
    if options.release:
        dirty = sources.commit(ROOT).dirty
        for bases in wanted.values():
            check_release(bases, dirty=dirty)
    engine, why = engines.first([options.engine] if options.engine else engines.NAMES)
    print("".join(f"==> {line}\n" for line in why), end="")
    if engine is None:
        raise ImageError("no container engine works here. On Debian `make images-local` builds without one, as root")
    return [build(engine, recipe, wanted[recipe.name], options.prefix, options.output) for recipe in recipes]


def _of(recipe: Recipe, given: Mapping[str, str]) -> dict[str, str]:
    # BASE=… is meant for every image; llama-serving.BASE=… for one.
    plain = {key: value for key, value in given.items() if key in recipe.bases}
    own = {
        key.removeprefix(f"{recipe.name}."): value for key, value in given.items() if key.startswith(f"{recipe.name}.")
    }
    if unknown := sorted({*own} - {*recipe.bases}):
        raise ImageError(f"{recipe.name} has no base {unknown[0]}: it has {', '.join(recipe.bases)}")
    return {**plain, **own}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images", description="Build the container images.")
    parser.add_argument("only", nargs="*", metavar="IMAGE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument(
        "--local", action="store_true", help="on a base of Debian's packages, without a registry (root)"
    )
    parser.add_argument(
        "--release", action="store_true", help="refuse a base without a digest, and uncommitted changes"
    )
    parser.add_argument("--engine", choices=engines.NAMES, help="instead of the first that works")
    parser.add_argument("--prefix", default="localhost", help="registry and folder of the names (localhost)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for layouts and SBOMs (.images)")
    parser.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="[IMAGE.]ARGUMENT=REFERENCE",
        help="a base instead of the Dockerfile's",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
