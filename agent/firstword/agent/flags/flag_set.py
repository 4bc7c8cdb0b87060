"""The flags that count now: those of a file, and of a flag that can't be taken its last good rule, in flagd's evaluator.

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
    """The flags of a file that can be used, and flagd's evaluator for them."""

    flags: Mapping[str, Flag]
    core: FlagdCore

    @property
    def possible(self) -> frozenset[str]:
        """Those that are on for somebody."""
        return frozenset(name for name, flag in self.flags.items() if flag.possible)

    def followed_by(self, file: FlagFile) -> FlagSet:
        """What counts once the file is `file`: its flags, and of each that can't be taken the rule that counts now."""
        kept = {name: self.flags[name] for name in file.bad if name in self.flags}
        return flag_set({**file.flags, **kept})

    def as_file(self) -> bytes:
        """A flag file of these flags alone."""
        return json.dumps({"flags": {name: flag.definition for name, flag in self.flags.items()}}).encode()


def flag_set(flags: Mapping[str, Flag]) -> FlagSet:
    """These flags; any other is off."""
    core = FlagdCore()
    core.set_flags(
        {"flags": {name: copy.deepcopy(dict(flag.definition)) for name, flag in flags.items()}}
    )  # changes it
    return FlagSet(flags, core)


ALL_OFF = flag_set({})
"""What counts where the file that was named has never been good."""
