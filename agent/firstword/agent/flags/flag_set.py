"""The flags that count now, with flagd's evaluator for them. A flag that is faulty in the file keeps its last good
rule.

Between `firstword.agent.flags.flag_file` and `firstword.agent.flags.flag_source`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass

from openfeature.contrib.tools.flagd.core import FlagdCore

from firstword.agent.flags.flag_file import Flag, FlagFile


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A set of usable flags, and flagd's evaluator for them."""

    flags: Mapping[str, Flag]
    core: FlagdCore

    @property
    def possible(self) -> frozenset[str]:
        """Returns the names of the flags that are on for some session or process."""
        return frozenset(name for name, flag in self.flags.items() if flag.possible)

    def followed_by(self, file: FlagFile) -> FlagSet:
        """Returns the flags that count once the file has changed to `file`. A flag that is faulty in it keeps its
        present rule.
        """
        kept = {name: self.flags[name] for name in file.bad if name in self.flags}
        return flag_set({**file.flags, **kept})

    def as_file(self) -> bytes:
        """Returns the content of a flag file with these flags alone."""
        return json.dumps({"flags": {name: flag.definition for name, flag in self.flags.items()}}).encode()


def flag_set(flags: Mapping[str, Flag]) -> FlagSet:
    """Returns a set of these flags, ready to be evaluated. For any other flag its evaluator raises FlagNotFoundError,
    which OpenFeature's client turns into off.
    """
    core = FlagdCore()
    core.set_flags(
        {"flags": {name: copy.deepcopy(dict(flag.definition)) for name, flag in flags.items()}}
    )  # changes it
    return FlagSet(flags, core)


ALL_OFF = flag_set({})
"""The flags that count as long as the flag file has never been good."""
