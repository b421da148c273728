"""The simulated Alpaca: a server on loopback that speaks Alpaca's protocol to any client of it, replaying bars.

What it is faithful to: shapes, codes and messages; bars that form; orders that queue for the next open; one account
without leverage. What it isn't: no partial fills, no queue, no market impact, no websockets, no rate limit, market
and limit orders of US equities only; whatever it doesn't simulate, it refuses by name.
"""
