"""What a version's page shows of its contract: at most five short tags, and a block in the description. Pure."""

from __future__ import annotations

import re
import unicodedata

from mlflow_ppo_flavor.contract.spec import ModelSpec
from mlflow_ppo_flavor.registry.as_seen import FILLERS, without_forgeries
from mlflow_ppo_flavor.registry.contracts import Contract

RESERVED_PREFIX = "ppo."
VERDICT_TAG = "ppo.verdict"
# MLflow's column for descriptions.
LONGEST_DESCRIPTION = 5_000
LONGEST_TAG = 250
BLOCK_MARK = "mlflow%ppo"
"""In every block, in lower case, as LIKE has it."""
_ALIAS = re.compile(r"@[\w.-]+")
_FIRST = "(written by mlflow-ppo)"
_LAST = "*End of what mlflow-ppo wrote.*"
# as it is written, so that the lines beside it stay to the byte; other spellings are left to without_forgeries
_BLOCK = re.compile(
    rf"^PPO policy [^\r\n]*{re.escape(_FIRST)}[^\r\n]*\r?$.*?(?:^{re.escape(_LAST)}[^\r\n]*\r?$|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")


def is_reserved(key: object) -> bool:
    """Whether a tag is one that only the gate writes, however it is spelled; what is no text is MLflow's to refuse."""
    if not isinstance(key, str):
        return False
    return "".join(filter(_is_seen, unicodedata.normalize("NFKC", key))).casefold().startswith(RESERVED_PREFIX)


def _is_seen(letter: str) -> bool:
    return letter not in FILLERS and unicodedata.category(letter) not in _INVISIBLE


def tags_of(contract: Contract, verdict: str = "", attested: int = 0) -> dict[str, str]:
    """The tags of a version with this contract.

    `verdict` is the gate's last word on it, empty where there is none; `attested` by how many traders.
    """
    tags = {}
    if contract.spec is not None:
        tags["ppo.spec"] = _cut(f"{contract.spec.family} {contract.spec.version}", LONGEST_TAG)
        tags["ppo.requires_trader"] = _cut(contract.spec.requires_trader, LONGEST_TAG)
        tags["ppo.digest"] = contract.digest
        tags["ppo.proof"] = _cut(proof_of(contract, attested), LONGEST_TAG)
    elif contract.flavored:
        tags["ppo.spec"] = _cut(f"unreadable: {contract.reason}", LONGEST_TAG)
    if verdict:
        tags[VERDICT_TAG] = _cut(verdict, LONGEST_TAG)
    return tags


def describe_version(text: str | None, contract: Contract, verdict: str = "", attested: int = 0) -> str:
    """A description with the user's own text first and the gate's block after it, within MLflow's 5,000 characters.

    `verdict` and `attested` are those of `tags_of`. The user's text is never cut: where both don't fit, the block
    shrinks to its first line, then goes.
    """
    own = own_text(text).strip()
    if contract.spec is None:
        return own
    for block in (_block(contract.spec, contract, verdict, attested), _shortest(contract.spec)):
        whole = f"{own}\n\n{block}" if own else block
        if len(whole) <= LONGEST_DESCRIPTION:
            return whole
    return own


def own_text(text: str | None) -> str:
    """A description without the gate's block and what reads as one; as it is where it has neither."""
    whole = kept = text or ""
    while (less := without_forgeries(_BLOCK.sub("", kept))) != kept:
        # what is left may read as one where the parts meet
        kept = less
    return whole if kept == whole else kept.strip()


def proof_of(contract: Contract, attested: int = 0) -> str:
    """How the contract of a spec is proven: by golden decisions, by whom that vouches for it, or not at all."""
    if contract.proven:
        traders = f", attested by {attested} trader{'s' if attested > 1 else ''}" if attested else ""
        return f"golden decisions recorded{traders}"
    if contract.golden:
        return "unproven: bars not filled"
    if not contract.vouched:
        return "unproven: no golden decisions"
    unfilled = contract.spec is not None and contract.spec.bars is None
    return f"unproven: bars not filled, {contract.vouched}" if unfilled else contract.vouched


def _block(spec: ModelSpec, contract: Contract, verdict: str, attested: int) -> str:
    actions = ", ".join(f"`{i} {name}`" for i, name in spec.action_meanings.items())
    lines = [
        _headline(spec),
        "",
        "### Contract",
        f"- **Actions** {actions}",
        f"- **Bars** {_bars(spec)}",
        f"- **Proof** {_cut(proof_of(contract, attested), LONGEST_TAG)}",
        f"- **Digest** `{contract.digest}`",
    ]
    if spec.breaking_changes:
        lines.append(f"- **Breaking changes** {_cut(spec.breaking_changes, LONGEST_TAG)}")
    if verdict:
        # MLflow's page would make a link to a foreign site of a bare @alias
        told = _ALIAS.sub(r"`\g<0>`", _cut(verdict, LONGEST_TAG))
        lines.append(f"- **Last verdict** {told}")
    return "\n".join([*lines, "", _LAST])


def _shortest(spec: ModelSpec) -> str:
    return f"{_headline(spec)}\n\n{_LAST}"


def _headline(spec: ModelSpec) -> str:
    shape = f"{spec.n_features} features × {spec.window} bars, {spec.n_actions} actions"
    requires = _cut(spec.requires_trader, LONGEST_TAG)
    return f"PPO policy {_cut(spec.version, LONGEST_TAG)}, {shape}, requires trader {requires} {_FIRST}"


def _bars(spec: ModelSpec) -> str:
    if spec.bars is None:
        return "not filled"
    symbols = f", trained on {', '.join(spec.symbols)}" if spec.symbols else ""
    bars = spec.bars
    return _cut(f"{bars.timeframe}, {bars.adjustment}, {bars.session}, {bars.time_zone}{symbols}", LONGEST_TAG)


def _cut(text: str, longest: int) -> str:
    # PostgreSQL keeps no NUL
    line = " ".join(text.replace("\x00", "").split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
