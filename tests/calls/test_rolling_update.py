"""A rolling update as the chart does it, on real workers: nobody unheard, nobody cut off.

A soak: it takes long, and each part is shown alone. test_workers.py drains a worker, tests/deploy/test_runs.py a pod.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rolling_update import Plan, update


@pytest.mark.real
@pytest.mark.soak
async def test_nobody_notices_a_rolling_update(tmp_path: Path) -> None:
    """One worker is replaced while callers call: its calls end by themselves, and new ones go to the other."""
    result = await update(tmp_path, Plan(workers=1, every_s=3.0, stay_s=4.0, settle_s=2.0))
    assert result.faults == []
    assert result.calls > 2
    assert result.exit_codes == [0]
