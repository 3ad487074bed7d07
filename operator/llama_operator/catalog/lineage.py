"""Facts that reveal the true family of a model from its names, and the countries of the European Union.

The data is in `data/lineage.json`; `decide.license` reads it. A name never proves a license. It only adds
duties, or makes a model that declares no license unresolved. Only exact Hugging Face repositories are known to be independent.
"""

from functools import cached_property
from re import Pattern
from re import compile as pattern_of
from typing import Annotated

from pydantic import Field

from llama_operator.catalog.models import Fact, Name
from llama_operator.catalog.packaged import packaged

CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class NameSignal(Fact):
    """What a name says about the lineage. Each signal removes what it matched; the next one reads the rest."""

    pattern: str
    """Regular expression, searched in the name in lower case with look-alike characters replaced."""
    families: tuple[Name, ...]
    """License families that then apply; none if the name is that of a Llama but does not say which."""
    or_any_of: tuple[Name, ...] = ()
    """Families that the name may mean as well: if the lineage has one of them, the name adds nothing."""

    @cached_property
    def compiled(self) -> Pattern[str]:
        """The pattern, ready for use."""
        return pattern_of(self.pattern)


class OtherCode(Fact):
    """A code that people write for a country and that is not the one which ISO 3166 assigns."""

    code: CountryCode
    country: CountryCode


class KnownRepository(Fact):
    """A Hugging Face repository whose license is known."""

    repository: str
    license_family: Name


class LineageFacts(Fact):
    """All facts of the data file."""

    name_signals: tuple[NameSignal, ...]
    other_words: tuple[str, ...]
    """Regular expressions of words that have the word in them and mean something else: tools, and Spanish calls."""
    independent: tuple[KnownRepository, ...]
    """Models that others trained from scratch, although name or shape are those of a Llama."""
    text_only: tuple[KnownRepository, ...]
    """Models without images, although other models under their license take images."""
    licensors: tuple[str, ...]
    """Owners on Hugging Face who publish unmodified weights of Meta."""
    circumvention_words: tuple[str, ...]
    """Words that publishers use for models whose safety training was removed."""
    distillation_words: tuple[str, ...]
    """Words of labels that say that the answers train another model."""
    european_union: tuple[CountryCode, ...]
    """Member states, ISO 3166-1 alpha-2."""
    european_union_parts: tuple[CountryCode, ...]
    """Parts of member states with a code of their own where the treaties apply: Åland and the outermost regions."""
    european_union_other_codes: tuple[CountryCode, ...]
    """Reserved codes that mean a member state, a part of one or the Union."""
    countries: tuple[CountryCode, ...]
    """Codes that are assigned, and XK."""
    other_codes: tuple[OtherCode, ...]
    """Reserved codes that mean one country."""
    source: Annotated[tuple[str, ...], Field(min_length=1)]

    @cached_property
    def other_word(self) -> Pattern[str]:
        """Any of `other_words`, by itself: with the version of a Llama behind it, it is none of them."""
        return pattern_of(rf"(?<![a-z0-9])({'|'.join(self.other_words)})(?![a-z])(?![ ._-]*v?[1-4](?![0-9.]*b))")

    def published_by_licensor(self, repository: str) -> bool:
        """Whether Meta publishes the repository; letter case does not count, as on the Hub."""
        return repository.partition("/")[0].casefold() in self.licensors

    def independent_family(self, repository: str) -> str | None:
        """License family of a repository that is known to be no derivative; None for any other."""
        return next((known.license_family for known in self.independent if known.repository == repository), None)

    def country(self, code: str) -> str:
        """The code that ISO 3166 assigns to the country that `code` means; `code` itself if it is no other one's."""
        return next((other.country for other in self.other_codes if other.code == code), code)

    def in_european_union(self, code: str) -> bool:
        """Whether the country code means the European Union or a part of it."""
        return code in self.european_union + self.european_union_parts + self.european_union_other_codes

    def known_country(self, code: str) -> bool:
        """Whether the code means a place at all."""
        return self.country(code) in self.countries or self.in_european_union(code)


load = packaged("lineage.json", LineageFacts)
"""Reads the facts that come with the package."""
