"""`firstword save`: writes the figures of now to a small file for a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firstword.command.observed import observed
from firstword.command.source_options import TraceOptions, reads_traces
from firstword.command.terminal import BAD_INPUT, fail, say, tell_json
from firstword.tuning.saved import SavedError, document, save, saved_of
from firstword.tuning.wording import amount


@reads_traces
def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a file that is there is replaced.")],
    *,
    options: TraceOptions,
) -> None:
    """Write p50, p90 and p99 of time to first word, initialization and each task to a small file.

    Commit it; `firstword diff FILE` says later what became of each figure.

    **Examples**

    `firstword save startup.json`

    `firstword save startup.json --jaeger http://localhost:16686 --since 1d`
    """
    found = observed(options.reading(), as_json=options.as_json)
    saved = saved_of(found.starts)
    try:
        save(saved, file)
    except SavedError as error:
        fail(str(error), code=BAD_INPUT)
    if options.as_json:
        tell_json(document(saved))
    else:
        say(f"{amount(len(saved.figures), 'figure')} of {amount(saved.sessions, 'session')}: {file}")
