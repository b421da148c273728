"""Train with code of one's own, save as always, and record what the policy decides: python train.py bars.csv FOLDER.

Needs numpy and torch alone. bars.csv has the columns time (the bar's start, UTC nanoseconds), open, high, low, close,
volume.
"""

import json
import math
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

WINDOW, EQUITY = 5, 10_000.0
ACTIONS = [
    {"name": "HOLD", "direction": 0, "size": 0.0},
    {"name": "BUY", "direction": 1, "size": 0.5},
    {"name": "SELL", "direction": -1, "size": 0.5},
]
SIZING = {"base_allocation": 0.15, "safety_buffer": 0.3, "max_position": 0.2, "allow_short": False}
SPEC = {
    "format": 1,
    "family": "elsewhere",
    "version": "1.0.0",
    "requires_trader": ">=2.7.0",
    "bars": None,
    "features": ["return_1@1", "return_5@1", "total_pnl@1", "position_size@1"],
    "window": WINDOW,
    "actions": ACTIONS,
    "sizing": SIZING,
}
STEP, LEAST_WORTH = Fraction(1, 10**9), 1


class TrainingConfig:
    """What this trainer was told; it goes into the checkpoint as it is."""

    def __init__(self):
        self.activation, self.learning_rate = "relu", 3e-4


class Policy(nn.Module):
    """Two shared layers and two heads, under this trainer's own names."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(WINDOW * len(SPEC["features"]), 32)
        self.fc2 = nn.Linear(32, 32)
        self.policy_head = nn.Linear(32, len(ACTIONS))
        self.value_head = nn.Linear(32, 1)

    def forward(self, observation):
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(observation))))
        return self.policy_head(hidden), self.value_head(hidden).squeeze(-1)


def market(close, bar):
    """The market features of one bar."""
    returns = (math.log(close[bar] / close[bar - horizon]) for horizon in (1, 5))
    return [min(max(value, -1.0), 1.0) for value in returns]


def observe(close, bar, account):
    """float32[20]: five bars of market features, oldest first, each followed by the account's."""
    equity = account["cash"] + float(account["quantity"]) * close[bar]
    pnl = math.tanh(10.0 * ((equity - EQUITY) / EQUITY))
    position = float(account["quantity"]) * close[bar] / (equity * SIZING["max_position"])
    rows = [[*market(close, row), pnl, position] for row in range(bar - WINDOW + 1, bar + 1)]
    return np.array(rows, dtype=np.float32).reshape(-1)


def size(action, account, price):
    """The signed quantity that an action orders at this close, in whole billionths of a share."""
    direction, share = ACTIONS[action]["direction"], ACTIONS[action]["size"]
    if not direction:
        return Decimal(0)
    equity, held = account["cash"] + float(account["quantity"]) * price, Fraction(account["quantity"])
    wanted = Fraction(share * (equity * (1.0 - SIZING["safety_buffer"]) * SIZING["base_allocation"]))
    room = Fraction(SIZING["max_position"] * equity) / Fraction(price) - held if direction > 0 else held
    least = math.ceil(Fraction(LEAST_WORTH) / Fraction(price) / STEP)
    steps = math.floor(wanted / Fraction(price) / STEP)
    if steps < least or room < least * STEP:
        return Decimal(0)
    steps = min(steps, math.floor(room / STEP))
    if direction < 0 and room / STEP - steps < least:
        steps = int(room / STEP)  # the venue wouldn't take the rest alone
    return Decimal(direction * steps) / 10**9


def act(policy, bars, first, last):
    """Trade from bar `first` to `last`: (bar, account, observation, logits, value, action, quantity) of each."""
    account = {"cash": EQUITY, "quantity": Decimal(0), "peak": EQUITY, "wins": 0, "trades": 0}
    spent = Decimal(0)
    for bar in range(first, last + 1):
        price = float(bars["close"][bar])
        account["peak"] = max(account["peak"], account["cash"] + float(account["quantity"]) * price)
        observation = observe(bars["close"], bar, account)
        with torch.no_grad():
            logits, value = policy(torch.from_numpy(observation)[None])
        action = int(logits[0].argmax())
        quantity = size(action, account, price)
        yield bar, dict(account), observation, logits[0].numpy(), float(value[0]), action, quantity
        if quantity and bar < last:
            paid = float(bars["open"][bar + 1])
            account["cash"] -= float(quantity) * paid
            account["quantity"] += quantity
            spent += quantity * Decimal(repr(paid))
            if not account["quantity"]:
                account["trades"], account["wins"] = account["trades"] + 1, account["wins"] + (spent < 0)
                spent = Decimal(0)


def accounts(prefix, states):
    """The arrays of accounts in a golden file."""
    money = {name: np.array([state[name] for state in states]) for name in ("cash", "peak")}
    counts = {name: np.array([state[name] for state in states], dtype=np.int64) for name in ("wins", "trades")}
    position = {"quantity": np.array([f"{state['quantity']:f}" for state in states])}
    initial = {"initial_equity": np.full(len(states), EQUITY)}
    return {f"{prefix}_{name}": array for name, array in {**initial, **money, **counts, **position}.items()}


def save_golden(path, bars, symbol, cases):
    """Write a golden file of cases, and beside them what every action does in two of the accounts."""
    rows, states, observations, logits, values, actions, quantities = zip(*cases, strict=True)
    table = [states[0], states[-1]]
    prices = [float(bars["close"][rows[0]]), float(bars["close"][rows[-1]])]
    every = [
        [f"{size(action, state, price):f}" for action in range(len(ACTIONS))]
        for state, price in zip(table, prices, strict=True)
    ]
    np.savez(
        path,
        format=np.int64(1),
        spec=json.dumps(SPEC),
        symbol=symbol,
        timeframe="1Day",
        adjustment="all",
        **bars,
        case_bar=np.array(rows, dtype=np.int64),
        **accounts("account", states),
        observations=np.stack(observations),
        logits=np.stack(logits),
        values=np.array(values, dtype=np.float32),
        actions=np.array(actions, dtype=np.int64),
        quantities=np.array([f"{quantity:f}" for quantity in quantities]),
        table_name=np.array(["at first", "at last"]),
        table_price=np.array(prices),
        **accounts("table", table),
        table_quantities=np.array(every),
        recorded_with=json.dumps({"elsewhere": "0.9", "numpy": np.__version__, "torch": torch.__version__}),
    )


if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    kinds = {"time": "i8"} | dict.fromkeys(("open", "high", "low", "close", "volume"), "f8")
    table = np.loadtxt(source, delimiter=",", skiprows=1, dtype=list(kinds.items()))
    bars = {name: np.ascontiguousarray(table[name]) for name in kinds}
    torch.manual_seed(1)
    policy, config = Policy(), TrainingConfig()
    optimizer = torch.optim.Adam(policy.parameters(), config.learning_rate)
    with torch.no_grad():  # stands for training
        policy.fc1.weight *= 20
        policy.policy_head.weight *= 8
    torch.save(
        {
            "policy_state_dict": policy.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "global_step": 1000,
            "config": config,
        },
        folder / "legacy.pt",
    )
    (folder / "spec.json").write_text(json.dumps(SPEC))
    save_golden(folder / "golden.npz", bars, "MEANREV", list(act(policy, bars, 60, 90)))
