"""The market data API (/v2/stocks): bars with pages, and the latest bars."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from fastapi import APIRouter, Request, Response

from live.exchange import market_data, wire
from live.exchange.calendar import ZONE
from live.exchange.clock import Moment
from live.exchange.form import read_instant
from live.exchange.market_data import BarQuery, bad_request
from live.exchange.refusal import Refusal
from live.exchange.reply import reply
from live.exchange.venue import Exchange
from mlflow_ppo_flavor.decision.bar_time import exchange_zone

_TIMEFRAMES = {"1Day": "1Day", "1D": "1Day", "1Hour": "1Hour", "1H": "1Hour", "1Min": "1Min", "1T": "1Min"}


def data_routes(exchange: Exchange) -> APIRouter:
    """The routes of the data API over one exchange."""
    routes = APIRouter(prefix="/v2/stocks")

    @routes.get("/bars")
    async def bars(request: Request) -> Response:
        moment = exchange.catch_up()
        query = read_query(exchange, request.query_params, moment)
        page = query if isinstance(query, Refusal) else market_data.page_of(exchange.tape, query, moment.position)
        if isinstance(page, Refusal):
            return reply(page)
        found = {symbol: [wire.bar_json(bar) for bar in of_symbol] for symbol, of_symbol in page.bars.items()}
        return reply({"bars": found, "next_page_token": page.next_page_token})

    @routes.get("/bars/latest")
    async def latest_bars(symbols: str) -> Response:
        moment = exchange.catch_up()
        newest = {name: market_data.latest_bar(exchange.tape, name, moment.position) for name in symbols.split(",")}
        return reply({"bars": {name: wire.bar_json(bar) for name, bar in newest.items() if bar is not None}})

    return routes


def read_query(exchange: Exchange, given: Mapping[str, str], moment: Moment) -> BarQuery | Refusal:
    """The query of a request for bars; a refusal for what can't be read, and for bars that the exchange doesn't hold.

    Without `start` only today's bars are meant, without `end` those up to now; without `adjustment` raw ones.
    """
    symbols = tuple(name for name in given.get("symbols", "").split(",") if name)
    if not symbols:
        return bad_request("symbols parameter is required")
    other = _not_held(exchange, given)
    if other is not None:
        return other
    start = read_instant(given["start"], "start") if "start" in given else _today(moment.now)
    end = read_instant(given["end"], "end") if "end" in given else moment.now
    limit = given.get("limit", str(market_data.DEFAULT_LIMIT))
    if isinstance(start, Refusal) or isinstance(end, Refusal):
        return bad_request("invalid start or end: expected RFC 3339 or YYYY-MM-DD")
    if not limit.isdecimal() or not 1 <= int(limit) <= market_data.MAX_LIMIT:
        return bad_request(f"invalid limit: expected 1 to {market_data.MAX_LIMIT}")
    if given.get("sort", "asc") not in ("asc", "desc"):
        return bad_request("invalid sort: expected asc or desc")
    return BarQuery(symbols, start, end, int(limit), given.get("sort") == "desc", given.get("page_token"))


def _not_held(exchange: Exchange, given: Mapping[str, str]) -> Refusal | None:
    """Why these bars can't be given: other bars in their place would be a silent lie."""
    spec = exchange.tape.spec
    timeframe, adjustment = given.get("timeframe", ""), given.get("adjustment", "raw")
    if timeframe not in _TIMEFRAMES:
        return bad_request(f"invalid timeframe: {timeframe}")
    if _TIMEFRAMES[timeframe] != spec.timeframe:
        return bad_request(f"timeframe {timeframe} is not held: this simulated exchange replays {spec.timeframe} bars")
    if adjustment != spec.adjustment:
        held = f"this simulated exchange replays bars with adjustment={spec.adjustment}"
        return bad_request(f"adjustment {adjustment} is not held: {held}")
    return None


def _today(now: int) -> int:
    stamp = pd.Timestamp(now, unit="ns", tz="UTC").tz_convert(exchange_zone(ZONE)).normalize()
    return int(stamp.tz_convert("UTC").as_unit("ns").value)
