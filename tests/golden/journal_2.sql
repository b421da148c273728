PRAGMA application_id = 1347440458;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE accounts (symbol TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
INSERT INTO "accounts" VALUES('AAPL','{"marked":1351224000000000000,"state":{"cash":100000.0,"initial_equity":100000.0,"peak":100000.0,"price":0.0,"quantity":"0","trade_flow":"0","trades":0,"wins":0}}');
CREATE TABLE conduct (
    only INTEGER PRIMARY KEY CHECK (only = 1), state TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REDUCING', 'HALTED')),
    reason TEXT NOT NULL, since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
INSERT INTO "conduct" VALUES(1,'HALTED','daily_loss: 6.00% lost','2012-10-26T20:00:00.000Z');
CREATE TABLE days (day TEXT PRIMARY KEY, equity REAL NOT NULL) STRICT;
CREATE TABLE decisions (
    symbol TEXT NOT NULL, bar_time INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (symbol, bar_time)
) STRICT;
INSERT INTO "decisions" VALUES('AAPL',1351224000000000000,'{"bar_time":1351224000000000000,"decided_at":"2012-10-26T20:00:00+00:00","decision":{"action":2,"direction":1,"equity":100000.0,"meaning":"BUY_50%","notional":5249.999999933,"price":84.5,"quantity":"62.130177514","size":0.5,"skipped":null},"model_digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","model_version":1,"note":"","observation_sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","probability":0.625,"symbol":"AAPL","value":-1.5}');
CREATE TABLE events (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    kind TEXT NOT NULL, symbol TEXT, reason TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'2012-10-26T20:00:00.000Z','swap',NULL,'version 1 → 2','{"from":1}');
CREATE TABLE fills (
    number INTEGER PRIMARY KEY, symbol TEXT NOT NULL,
    client_order_id TEXT REFERENCES orders (client_order_id), body TEXT NOT NULL
) STRICT;
INSERT INTO "fills" VALUES(1,'AAPL','live-1.AAPL.20121026T040000Z.0.0.6ef929cfe88cadc8a6dc530b','{"fee":0.0,"price":84.5,"quantity":"1.5","time":1351224000000000001}');
CREATE TABLE identity (trader_id TEXT NOT NULL) STRICT;
INSERT INTO "identity" VALUES('live-1');
CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, bar_time INTEGER NOT NULL, is_open INTEGER NOT NULL,
    ticket TEXT NOT NULL, report TEXT, recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
INSERT INTO "orders" VALUES('live-1.AAPL.20121026T040000Z.0.0.6ef929cfe88cadc8a6dc530b','AAPL',1351224000000000000,0,'{"attempt":0,"bar_time":1351224000000000000,"client_order_id":"live-1.AAPL.20121026T040000Z.0.0.6ef929cfe88cadc8a6dc530b","leg":0,"quantity":"1.5","reason":"BUY_50%","symbol":"AAPL"}','{"average_price":84.5,"client_order_id":"live-1.AAPL.20121026T040000Z.0.0.6ef929cfe88cadc8a6dc530b","filled_at":1351224000000000001,"filled_quantity":"1.5","order_id":"venue-1","reason":"","status":"filled"}','2012-10-26T20:00:00.000Z');
CREATE TABLE verdicts (reference TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
INSERT INTO "verdicts" VALUES('ppo-meanrev/Production','{"at":"2026-01-31T14:30:00+00:00","digest":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","label":"Production","model":"ppo-meanrev","registry":"7a5c1f0e-3b7d-4a6f-9a43-0d6f1c2b3e4f","sequence":1,"version":1,"workspace":"default"}');
CREATE INDEX open_orders ON orders (symbol) WHERE is_open;
CREATE INDEX orders_by_time ON orders (bar_time);
CREATE INDEX fills_by_symbol ON fills (symbol);
CREATE INDEX events_by_kind ON events (kind);
COMMIT;
