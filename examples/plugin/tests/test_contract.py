"""The promises of the collector, checked by the suite that every collector of collect-node passes."""

import asyncio
import datetime as dt

from collect_example.dates import DatesCollector, DatesOptions

from plugins.api import CollectRequest, Range
from plugins.testing import check_collector

OPTIONS = DatesOptions(first=dt.date(2023, 11, 20), last=dt.date(2024, 3, 10))
DAYS = [OPTIONS.first + dt.timedelta(days=number) for number in range(112)]


def test_full() -> None:
    found = asyncio.run(check_collector(DatesCollector, OPTIONS))
    assert [record["date"] for record in found] == [day.isoformat() for day in DAYS]


def test_range() -> None:
    wanted = Range(field="date", from_="2023-12-15", to="2024-02-15", step="month")
    request = CollectRequest(task="t", run="r", mode="range", range=wanted)
    found = asyncio.run(check_collector(DatesCollector, OPTIONS, request=request))
    assert [record["date"] for record in found] == [day.isoformat() for day in DAYS[25:87]]
