"""What a version's page shows of its contract: at most five short tags, and a block in the description. Pure."""

from __future__ import annotations

import re
import unicodedata

from mlflow_ppo_flavor.contract.spec import ModelSpec
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
# whatever a reader would take for a block is one: in any case, with any blanks, as a quote, a heading or in bold
_BEFORE, _GAP, _REST = r"[^\w\r\n]*", r"[^a-zA-Z\r\n]+", r"[^\r\n]*\r?$"
_BLOCK = re.compile(
    rf"^{_BEFORE}PPO{_GAP}policy\b[^\r\n]*\({_BEFORE}written{_GAP}by{_GAP}mlflow{_GAP}ppo{_BEFORE}\){_REST}"
    rf".*?(?:^{_BEFORE}End{_GAP}of{_GAP}what{_GAP}mlflow{_GAP}ppo{_GAP}wrote{_REST}|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
# letters to Unicode and MLflow, nothing to a reader
_FILLERS = "\u115f\u1160"


def is_reserved(key: object) -> bool:
    """Whether a tag is one that only the gate writes, however it is spelled; what is no text is MLflow's to refuse."""
    if not isinstance(key, str):
        return False
    return "".join(filter(_is_seen, unicodedata.normalize("NFKC", key))).casefold().startswith(RESERVED_PREFIX)


def _is_seen(letter: str) -> bool:
    return letter not in _FILLERS and unicodedata.category(letter) not in _INVISIBLE


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
    """A description without the gate's block; as it is where it has none."""
    whole = text or ""
    kept = _BLOCK.sub("", whole)
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
