"""What one person does with the flags of a store, and with the tuner that moves them."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from firstword.agent.flags.flag_file import FlagFile, FlagFileError
from firstword.agent.flags.improvements import NO_CHANGE, SUBJECTS
from firstword.agent.flags.location import shipped_file
from firstword.agent.flags.writer import Move, begin
from firstword.command.flag_shares import rollouts
from firstword.command.terminal import BAD_INPUT, fail, say, say_below, tell_json, warn
from firstword.command.tuner.flag_store import FlagStore, StoredFlags
from firstword.command.tuner.history import entry
from firstword.tuning.change import nearest

_STYLES = {
    "turn_back": "bold red",
    "all_off": "bold red",
    "ramp": "bold green",
    "start": "bold green",
    "hold": "yellow",
}


def set_share(store: FlagStore, path: Path | None, text: str) -> None:
    """Sets one share as `text`, FLAG=PERCENT, has it. path: a flag file that is made if it isn't there."""
    name, _, percent = text.partition("=")
    if not percent.isdecimal() or int(percent) > 100:
        fail(f"--set is {text!r}; expected FLAG=PERCENT, a whole number from 0 to 100", code=BAD_INPUT)
    try:
        if path is not None and not os.path.exists(path):
            begin(path, shipped_file(), SUBJECTS)
        stored = store.read()
        shares = {rollout.flag: rollout for rollout in rollouts(stored.file, stored.changed)}
        known = {flag: rollout.percent for flag, rollout in shares.items()} | {NO_CHANGE: _of_no_change(stored)}
        if name not in known:
            fail(f"--set: {store.name} has no flag {name!r}; {nearest(name, list(shares))}", code=BAD_INPUT)
        if name in shares and (reason := shares[name].fixed):
            fail(f"--set: {name} has no share to set in {store.name}: {reason}; change it there", code=BAD_INPUT)
        now, to = time.time(), int(percent)
        done = entry(now, "set", "set by hand", flag=name, shares=(known[name], to))
        words = store.write((Move(name, to, "set by hand", now),), (done,))
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    say_doubts(stored.file, store.name)
    say(f"{name}: from {known[name]} to {percent} %. {words}")


def all_off(store: FlagStore) -> None:
    """Stops the tuner, and turns every share back to 0. Says which flags have no share and stay as they are."""
    pause(store, "all flags were turned back by hand")
    try:
        stored = store.read()
        known = rollouts(stored.file, stored.changed)
        now, reason = time.time(), "turned back by hand, with all others"
        on = [rollout for rollout in known if rollout.fixed is None and rollout.percent]
        moves = [Move(each.flag, 0, reason, now, turned_back=True) for each in on]
        if _of_no_change(stored):
            moves.append(Move(NO_CHANGE, 0, reason, now))
        names = ", ".join(f"{each.flag} {each.percent} %" for each in on) or "none was on"
        if moves:
            say(store.write(moves, (entry(now, "all_off", names),)))
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    say(f"All shares are 0 now. Before: {names}.", "bold")
    for rollout in known:
        if rollout.fixed is not None:
            warn(f"{rollout.flag} stays as it is: {rollout.fixed}; change it in {store.name}")


def pause(store: FlagStore, reason: str) -> None:
    """Stops the tuner, at its next look."""
    _change(store, reason, "pause", f"The tuner of {store.name} is stopped. `firstword tune --resume` lets it go on.")


def resume(store: FlagStore) -> None:
    """Lets the tuner go on."""
    _change(store, None, "resume", f"The tuner of {store.name} goes on. Flags that were turned back stay so.")


def show_history(store: FlagStore, *, as_json: bool) -> None:
    """Prints what the tuner did, the oldest first: time and deed in one line, the reason in the next."""
    try:
        entries = store.history()
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    if as_json:
        tell_json([asdict(each) for each in entries])
        return
    for each in entries:
        when = datetime.fromisoformat(each.time).astimezone()
        say(f"{when:%Y-%m-%d %H:%M} {each.what}", _STYLES.get(each.action))
        say_below(each.reason)
    if not entries:
        say(f"No history of {store.name} yet.")


def say_doubts(file: FlagFile, name: str) -> None:
    """Warns of what workers don't take, or take otherwise than it may be meant."""
    for flag, why in file.bad.items():
        warn(f"{name}: workers can't take {flag}: {why}")
    for remark in file.remarks:
        warn(f"{name}: {remark}")


def _change(store: FlagStore, reason: str | None, action: str, says: str) -> None:
    try:
        store.pause(reason)
        store.record((entry(time.time(), action, reason or "by hand"),))
    except FlagFileError as error:
        fail(str(error), code=BAD_INPUT)
    say(says)


def _of_no_change(stored: StoredFlags) -> int:
    flag = stored.file.flags.get(NO_CHANGE)
    return (flag.percent or 0) if flag else 0
