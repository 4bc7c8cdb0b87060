"""A bad change, planted for `benchmarks.tune_live`: with one flag on, one task of the plan takes far longer than it should."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from firstword.agent.flags.improvements import Improvement
from firstword.telemetry.plan import Node, Plan, Shape

FLAG = Improvement.LAZY_ROOM_OPTIONS
TASK = "room_options"
DELAY_S = 0.5
_planting, _planted = threading.Lock(), list[Plan]()


def plant(plan: Plan) -> None:
    """From now on sessions of this process that have `FLAG` on are slow in `TASK`; all others run the plan as it is.

    Once, however many threads for jobs the process makes ready.
    """
    with _planting:
        if plan in _planted:
            return
        _planted.append(plan)
    sound = plan.shape

    def shape(flags: Mapping[str, bool], *, in_order: bool = False) -> Shape:
        made = sound(flags, in_order=in_order)
        return replace(made, nodes=tuple(map(_delayed, made.nodes))) if flags.get(FLAG) else made

    plan.shape = shape


def _delayed(node: Node) -> Node:
    async def delayed(**given: Any) -> Any:
        await asyncio.sleep(DELAY_S)
        return await node.function(**given)

    return replace(node, function=delayed) if node.name == TASK else node
